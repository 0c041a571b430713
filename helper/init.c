/* The first program of a copy that has secrets as variables: it adds them to the environment and
 * becomes the copy's own command.
 *
 *     /run/secrets/.init COMMAND ARGUMENT...
 *
 * Intuition: an engine writes the environment of a container to its disk. So variables that nobody
 * else may read come in a file in memory, which this program reads when the container starts. It
 * stands beside that file, so an image needs no shell, no library and no file of ours.
 *
 * Invariants: without the file nothing is started. The command keeps the process number, the user,
 * the working directory, the signals, the open files and every other variable. Nothing is written,
 * but one line to stderr when nothing can be started, which holds no value.
 *
 * Exit codes are docker's: 125: our own failure; 126: the command cannot be run; 127: there is none.
 *
 * It is one static file without libc: see helper/init.py, which builds it.
 */

#define VARIABLES "/run/secrets/.variables"
#define PATH_DEFAULT "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define PATH_MAX 4096
#define ENOENT 2
#define EACCES 13
#define ENOTDIR 20

typedef unsigned long word;

#if defined(__x86_64__)
enum { READ = 0, WRITE = 1, LSEEK = 8, MMAP = 9, EXECVE = 59, EXIT_GROUP = 231, OPENAT = 257 };

static long call(long number, long a, long b, long c, long d, long e, long f)
{
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

__asm__(".globl _start\n_start:\n xor %ebp,%ebp\n mov %rsp,%rdi\n and $-16,%rsp\n call begin\n");
#elif defined(__aarch64__)
enum { OPENAT = 56, LSEEK = 62, READ = 63, WRITE = 64, EXIT_GROUP = 94, EXECVE = 221, MMAP = 222 };

static long call(long number, long a, long b, long c, long d, long e, long f)
{
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc 0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory");
    return x0;
}

__asm__(".globl _start\n_start:\n mov x29,#0\n mov x30,#0\n mov x0,sp\n bl begin\n");
#else
#error "no system calls are known for this processor"
#endif

static word length(const char *text)
{
    word count = 0;
    while (text[count])
        count++;
    return count;
}

static void say(const char *text)
{
    call(WRITE, 2, (long)text, (long)length(text), 0, 0, 0);
}

static void leave(int code)
{
    for (;;)
        call(EXIT_GROUP, code, 0, 0, 0, 0, 0);
}

static void fail(const char *what, const char *why, int code)
{
    say("p2pool: ");
    say(what);
    say(why);
    say("\n");
    leave(code);
}

/* Memory of zeros. */
static char *reserve(word bytes)
{
    /* PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS */
    long found = call(MMAP, 0, (long)bytes, 3, 0x22, -1, 0);
    if (found < 0 && found > -4096)
        fail("the copy's secrets", ": there is no memory for them", 125);
    return (char *)found;
}

/* The whole file of variables, and its length. A zero follows it. */
static char *variables(word *bytes)
{
    const char *what = "the copy's secrets are not there";
    /* AT_FDCWD, O_RDONLY | O_CLOEXEC */
    long file = call(OPENAT, -100, (long)VARIABLES, 02000000, 0, 0, 0);
    if (file < 0)
        fail(what, "", 125);
    long size = call(LSEEK, file, 0, 2, 0, 0, 0);
    if (size < 0 || call(LSEEK, file, 0, 0, 0, 0, 0) < 0)
        fail(what, ": their length is not known", 125);
    char *found = reserve((word)size + 1);
    word have = 0;
    while (have < (word)size) {
        long more = call(READ, file, (long)(found + have), size - (long)have, 0, 0, 0);
        if (more == -4) /* EINTR */
            continue;
        if (more <= 0)
            fail(what, ": they cannot be read", 125);
        have += (word)more;
    }
    *bytes = have;
    return found;
}

/* Whether two variables have one name. */
static int same_name(const char *one, const char *other)
{
    while (*one && *one == *other && *one != '=')
        one++, other++;
    return *one == '=' && *other == '=';
}

/* The environment with the variables of the file, which win. */
static char **environment(char **given)
{
    word bytes, count = 0, added = 0;
    char *text = variables(&bytes);
    while (given[count])
        count++;
    for (word at = 0; at < bytes; at += length(text + at) + 1)
        added++;
    char **made = (char **)reserve((count + added + 1) * sizeof(char *));
    word used = 0;
    for (word at = 0; at < bytes; at += length(text + at) + 1)
        made[used++] = text + at;
    for (word i = 0; i < count; i++) {
        int named = 0;
        for (word j = 0; j < added && !named; j++)
            named = same_name(given[i], made[j]);
        if (!named)
            made[used++] = given[i];
    }
    return made;
}

static const char *path_of(char **environ)
{
    for (; *environ; environ++)
        if (same_name(*environ, "PATH="))
            return *environ + 5;
    return PATH_DEFAULT;
}

static int has_slash(const char *text)
{
    for (; *text; text++)
        if (*text == '/')
            return 1;
    return 0;
}

/* Become the command; returns why not. */
static long become(const char *name, char **arguments, char **environ)
{
    static char place[PATH_MAX];
    if (has_slash(name) || !*name)
        return call(EXECVE, (long)name, (long)arguments, (long)environ, 0, 0, 0);
    long denied = 0;
    for (const char *from = path_of(environ);; from++) {
        word size = 0;
        const char *start = from;
        while (*from && *from != ':')
            from++;
        word folder = (word)(from - start);
        if (folder + length(name) + 3 <= PATH_MAX) {
            for (word i = 0; i < folder; i++)
                place[size++] = start[i];
            if (!folder)
                place[size++] = '.';
            place[size++] = '/';
            for (word i = 0; i <= length(name); i++)
                place[size++] = name[i];
            long why = call(EXECVE, (long)place, (long)arguments, (long)environ, 0, 0, 0);
            if (why == -EACCES)
                denied = why;
            else if (why != -ENOENT && why != -ENOTDIR)
                return why;
        }
        if (!*from)
            return denied ? denied : -ENOENT;
    }
}

void begin(word *stack)
{
    long count = (long)stack[0];
    char **arguments = (char **)(stack + 1);
    char **environ = environment(arguments + count + 1);
    if (count < 2)
        fail("there is no command to run", "", 127);
    long why = become(arguments[1], arguments + 1, environ);
    int missing = why == -ENOENT || why == -ENOTDIR;
    fail(arguments[1], missing ? ": there is no such command" : ": it cannot be run",
         missing ? 127 : 126);
}
