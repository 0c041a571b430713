/* A stand-in for libnvidia-ml.so.1: its machine is described by the file that FAKE_NVML names.
 *
 * Lines: "init CODE", "count CODE", "sleep SECONDS", and one for each GPU:
 * "gpu UUID MEMORY_BYTES HANDLE_CODE UUID_CODE NAME_CODE MEMORY_CODE MODEL WITH SPACES".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct gpu {
    char uuid[96], model[96];
    unsigned long long memory;
    int handle_code, uuid_code, name_code, memory_code;
};
struct memory { unsigned long long total, free, used; };

static struct gpu gpus[128];
static unsigned int count;
static int init_code, count_code;

int nvmlInitWithFlags(unsigned int flags) {
    char line[512];
    FILE *file = fopen(getenv("FAKE_NVML"), "r");
    (void)flags;
    count = 0, init_code = 0, count_code = 0;
    while (file && fgets(line, sizeof line, file)) {
        unsigned int seconds;
        struct gpu *g = &gpus[count];
        if (sscanf(line, "init %d", &init_code) == 1) continue;
        if (sscanf(line, "count %d", &count_code) == 1) continue;
        if (sscanf(line, "sleep %u", &seconds) == 1) { sleep(seconds); continue; }
        if (sscanf(line, "gpu %95s %llu %d %d %d %d %95[^\n]", g->uuid, &g->memory,
                   &g->handle_code, &g->uuid_code, &g->name_code, &g->memory_code, g->model) == 7)
            count++;
    }
    if (file) fclose(file);
    return init_code;
}

int nvmlShutdown(void) { return 0; }

const char *nvmlErrorString(int code) {
    return code == 15 ? "GPU is lost" : code == 9 ? "Driver Not Loaded" : "Some Error";
}

int nvmlSystemGetDriverVersion(char *text, unsigned int size) {
    snprintf(text, size, "550.54.15");
    return 0;
}

int nvmlDeviceGetCount_v2(unsigned int *found) {
    *found = count;
    return count_code;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **device) {
    if (index >= count) return 2;
    *device = &gpus[index];
    return gpus[index].handle_code;
}

int nvmlDeviceGetUUID(struct gpu *g, char *text, unsigned int size) {
    snprintf(text, size, "%s", g->uuid);
    return g->uuid_code;
}

int nvmlDeviceGetName(struct gpu *g, char *text, unsigned int size) {
    snprintf(text, size, "%s", g->model);
    return g->name_code;
}

int nvmlDeviceGetMemoryInfo(struct gpu *g, struct memory *memory) {
    memory->total = g->memory, memory->free = g->memory, memory->used = 0;
    return g->memory_code;
}
