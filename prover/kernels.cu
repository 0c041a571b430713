// What a prover does on a GPU beside multiplying: derives matrices, hashes rows, fills memory and
// reads it. The bytes are those of reference.py; docs/design/validation.md, "Bytes", says them.
//
// One thread makes a word, hashes a row or fills a block; a block of threads reads a block of
// memory. Digests lie as eight words of which each holds the big-endian value, except in the filled
// memory, which is read as little-endian words: there they lie as bytes.

typedef unsigned int u32;
typedef unsigned long long u64;

#define LINE_WORDS 8
#define GOLDEN 0x9E3779B1u

__constant__ u32 ROUND[64] = {
    0x428a2f98u, 0x71374491u, 0xb5c0fbcfu, 0xe9b5dba5u, 0x3956c25bu, 0x59f111f1u, 0x923f82a4u,
    0xab1c5ed5u, 0xd807aa98u, 0x12835b01u, 0x243185beu, 0x550c7dc3u, 0x72be5d74u, 0x80deb1feu,
    0x9bdc06a7u, 0xc19bf174u, 0xe49b69c1u, 0xefbe4786u, 0x0fc19dc6u, 0x240ca1ccu, 0x2de92c6fu,
    0x4a7484aau, 0x5cb0a9dcu, 0x76f988dau, 0x983e5152u, 0xa831c66du, 0xb00327c8u, 0xbf597fc7u,
    0xc6e00bf3u, 0xd5a79147u, 0x06ca6351u, 0x14292967u, 0x27b70a85u, 0x2e1b2138u, 0x4d2c6dfcu,
    0x53380d13u, 0x650a7354u, 0x766a0abbu, 0x81c2c92eu, 0x92722c85u, 0xa2bfe8a1u, 0xa81a664bu,
    0xc24b8b70u, 0xc76c51a3u, 0xd192e819u, 0xd6990624u, 0xf40e3585u, 0x106aa070u, 0x19a4c116u,
    0x1e376c08u, 0x2748774cu, 0x34b0bcb5u, 0x391c0cb3u, 0x4ed8aa4au, 0x5b9cca4fu, 0x682e6ff3u,
    0x748f82eeu, 0x78a5636fu, 0x84c87814u, 0x8cc70208u, 0x90befffau, 0xa4506cebu, 0xbef9a3f7u,
    0xc67178f2u};

__device__ u32 mixed(u32 word) {
    word ^= word >> 16;
    word *= 0x7FEB352Du;
    word ^= word >> 15;
    word *= 0x846CA68Bu;
    return word ^ (word >> 16);
}

__device__ u32 swapped(u32 word) {
    return (word >> 24) | ((word >> 8) & 0xFF00u) | ((word << 8) & 0xFF0000u) | (word << 24);
}

__device__ u32 turned(u32 word, int by) { return (word >> by) | (word << (32 - by)); }

__device__ void begin(u32 *state) {
    state[0] = 0x6a09e667u;
    state[1] = 0xbb67ae85u;
    state[2] = 0x3c6ef372u;
    state[3] = 0xa54ff53au;
    state[4] = 0x510e527fu;
    state[5] = 0x9b05688cu;
    state[6] = 0x1f83d9abu;
    state[7] = 0x5be0cd19u;
}

// SHA-256 of one block of 16 words, which are used up.
__device__ void compress(u32 *state, u32 *w) {
    u32 a = state[0], b = state[1], c = state[2], d = state[3];
    u32 e = state[4], f = state[5], g = state[6], h = state[7];
    for (int at = 0; at < 64; at++) {
        if (at >= 16) {
            u32 x = w[(at + 1) & 15], y = w[(at + 14) & 15];
            u32 s0 = turned(x, 7) ^ turned(x, 18) ^ (x >> 3);
            u32 s1 = turned(y, 17) ^ turned(y, 19) ^ (y >> 10);
            w[at & 15] += s0 + w[(at + 9) & 15] + s1;
        }
        u32 one = h + (turned(e, 6) ^ turned(e, 11) ^ turned(e, 25)) + ((e & f) ^ (~e & g)) +
                  ROUND[at] + w[at & 15];
        u32 two = (turned(a, 2) ^ turned(a, 13) ^ turned(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
        h = g;
        g = f;
        f = e;
        e = d + one;
        d = c;
        c = b;
        b = a;
        a = one + two;
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
    state[5] += f;
    state[6] += g;
    state[7] += h;
}

// A product's own matrix: a word of four int8 for each thread.
extern "C" __global__ void left_matrix(u32 first, u32 second, u32 row_words, u64 count, u32 *out) {
    u64 index = (u64)blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= count) return;
    u32 row = (u32)(index / row_words), at = (u32)(index % row_words);
    out[index] = mixed((mixed(row + first) ^ (at * GOLDEN)) + second);
}

// The leaves over the rows of a product: SHA-256 of a zero byte and the row.
extern "C" __global__ void row_leaves(const u32 *product, u32 columns, u32 rows, u32 *out) {
    u32 row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= rows) return;
    const u32 *words = product + (u64)row * columns;
    u32 state[8], block[16];
    begin(state);
    u32 last = (columns + 3 + 15) / 16 * 16;
    for (u32 start = 0; start < last; start += 16) {
        for (u32 at = start; at < start + 16; at++) {
            u32 before = at == 0 || at > columns ? 0 : words[at - 1] & 0xFF000000u;
            u32 word = before;
            if (at < columns) word |= swapped(words[at]) >> 8;
            if (at == columns) word |= 0x00800000u;
            if (at == last - 1) word = 8 * (4 * columns + 1);
            block[at - start] = word;
        }
        compress(state, block);
    }
    for (int at = 0; at < 8; at++) out[(u64)row * 8 + at] = state[at];
}

// A level of a tree from the one below: SHA-256 of a one byte and two digests; an odd one goes up.
extern "C" __global__ void tree_level(const u32 *below, u32 count, u32 *out) {
    u32 node = blockIdx.x * blockDim.x + threadIdx.x;
    if (node >= (count + 1) / 2) return;
    const u32 *pair = below + (u64)node * 16;
    u32 *made = out + (u64)node * 8;
    if (2 * node + 1 == count) {
        for (int at = 0; at < 8; at++) made[at] = pair[at];
        return;
    }
    u32 state[8], block[16];
    begin(state);
    block[0] = 0x01000000u | (pair[0] >> 8);
    for (int at = 1; at < 16; at++) block[at] = (pair[at - 1] << 24) | (pair[at] >> 8);
    compress(state, block);
    for (int at = 0; at < 16; at++) block[at] = 0;
    block[0] = (pair[15] << 24) | 0x00800000u;
    block[15] = 520;
    compress(state, block);
    for (int at = 0; at < 8; at++) made[at] = state[at];
}

// Fills blocks of memory: each line a hash of the one before it and of an earlier one.
extern "C" __global__ void fill(const u32 *seed, u64 start, u64 count, u32 lines, u32 repeats,
                                u32 *memory) {
    u64 index = (u64)blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= count) return;
    u64 number = start + index;
    u32 *out = memory + number * lines * LINE_WORDS;
    u32 line[8], block[16];
    begin(line);
    for (int at = 0; at < 8; at++) block[at] = seed[at];
    for (int at = 8; at < 16; at++) block[at] = 0;
    block[8] = (u32)(number >> 32);
    block[9] = (u32)number;
    block[10] = 0x80000000u;
    block[15] = 320;
    compress(line, block);
    for (int at = 0; at < 8; at++) out[at] = swapped(line[at]);
    for (u32 number_of_line = 1; number_of_line < lines; number_of_line++) {
        const u32 *earlier = out + (u64)(line[0] % number_of_line) * LINE_WORDS;
        for (int at = 0; at < 8; at++) block[at] = line[at];
        for (int at = 0; at < 8; at++) block[8 + at] = swapped(earlier[at]);
        begin(line);
        compress(line, block);
        for (int at = 0; at < 16; at++) block[at] = 0;
        block[0] = 0x80000000u;
        block[15] = 512;
        compress(line, block);
        for (u32 again = 1; again < repeats; again++) {
            for (int at = 0; at < 8; at++) block[at] = line[at];
            for (int at = 8; at < 16; at++) block[at] = 0;
            block[8] = 0x80000000u;
            block[15] = 256;
            begin(line);
            compress(line, block);
        }
        u32 *here = out + (u64)number_of_line * LINE_WORDS;
        for (int at = 0; at < 8; at++) here[at] = swapped(line[at]);
    }
}

// The fingerprints of blocks of memory, as two words each, which begin as zero.
extern "C" __global__ void fingerprints(u32 first, u32 second, u32 block_words, const u32 *memory,
                                        u32 *out) {
    u64 number = blockIdx.x;
    const u32 *words = memory + number * block_words;
    u32 low = 0, high = 0;
    for (u32 at = threadIdx.x; at < block_words; at += blockDim.x) {
        u32 word = mixed((words[at] + second) ^ (at * GOLDEN + first));
        low += word;
        high += word * (2 * at + 1);
    }
    atomicAdd(out + 2 * number, low);
    atomicAdd(out + 2 * number + 1, high);
}
