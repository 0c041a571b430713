/* A stand-in for libnvidia-ml.so.1: its machine is described by the file that FAKE_NVML names.
 *
 * Lines: "init CODE", "count CODE", "sleep SECONDS", and one for each GPU:
 * "gpu UUID MEMORY_BYTES HANDLE_CODE UUID_CODE NAME_CODE MEMORY_CODE MODEL WITH SPACES".
 * For a GPU that stands before: "state UUID CELSIUS BUSY_PERCENT USED_BYTES ECC PROCESSES",
 * "mig UUID" (MIG is switched on), "part UUID PART_UUID MEMORY_BYTES MODEL WITH SPACES" (an
 * instance of it), and "xid UUID CODE" (an event that whoever waits hears once).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct gpu {
    char uuid[96], model[96];
    unsigned long long memory, used, ecc;
    int handle_code, uuid_code, name_code, memory_code;
    unsigned int celsius, busy, processes, mig, parts, xid;
    struct gpu *part[8];
};
struct memory { unsigned long long total, free, used; };
struct rates { unsigned int gpu, memory; };
struct process { unsigned int pid; unsigned long long used; unsigned int instance, compute; };
struct event { struct gpu *device; unsigned long long type, data; unsigned int gpu, compute; };

static struct gpu gpus[128], parts[64];
static unsigned int count, part_count;
static int init_code, count_code;

static struct gpu *named(const char *uuid) {
    for (unsigned int i = 0; i < count; i++)
        if (!strcmp(gpus[i].uuid, uuid)) return &gpus[i];
    return NULL;
}

static void add_part(struct gpu *of, const char *uuid, unsigned long long memory,
                     const char *model) {
    struct gpu *p = &parts[part_count++];
    memset(p, 0, sizeof *p);
    snprintf(p->uuid, sizeof p->uuid, "%s", uuid);
    snprintf(p->model, sizeof p->model, "%s", model);
    p->memory = memory;
    of->part[of->parts++] = p;
}

int nvmlInitWithFlags(unsigned int flags) {
    char line[512], uuid[96], other[96], model[96];
    FILE *file = fopen(getenv("FAKE_NVML"), "r");
    (void)flags;
    count = 0, part_count = 0, init_code = 0, count_code = 0;
    while (file && fgets(line, sizeof line, file)) {
        unsigned int seconds;
        unsigned long long memory;
        struct gpu *g = &gpus[count], *of;
        if (sscanf(line, "init %d", &init_code) == 1) continue;
        if (sscanf(line, "count %d", &count_code) == 1) continue;
        if (sscanf(line, "sleep %u", &seconds) == 1) { sleep(seconds); continue; }
        memset(g, 0, sizeof *g);
        if (sscanf(line, "gpu %95s %llu %d %d %d %d %95[^\n]", g->uuid, &g->memory,
                   &g->handle_code, &g->uuid_code, &g->name_code, &g->memory_code, g->model) == 7) {
            count++;
            continue;
        }
        if (sscanf(line, "part %95s %95s %llu %95[^\n]", uuid, other, &memory, model) == 4) {
            if ((of = named(uuid))) add_part(of, other, memory, model);
            continue;
        }
        if (sscanf(line, "%*s %95s", uuid) != 1 || !(of = named(uuid))) continue;
        sscanf(line, "state %*s %u %u %llu %llu %u", &of->celsius, &of->busy, &of->used, &of->ecc,
               &of->processes);
        sscanf(line, "xid %*s %u", &of->xid);
        if (!strncmp(line, "mig ", 4)) of->mig = 1;
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

int nvmlSystemGetCudaDriverVersion_v2(int *version) {
    *version = 12040;
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
    memory->total = g->memory, memory->free = g->memory - g->used, memory->used = g->used;
    return g->memory_code;
}

int nvmlDeviceGetTemperature(struct gpu *g, int sensor, unsigned int *celsius) {
    (void)sensor;
    *celsius = g->celsius;
    return g->celsius ? 0 : 3;
}

int nvmlDeviceGetUtilizationRates(struct gpu *g, struct rates *rates) {
    rates->gpu = g->busy, rates->memory = 0;
    return 0;
}

int nvmlDeviceGetTotalEccErrors(struct gpu *g, int kind, int counter, unsigned long long *errors) {
    *errors = kind == 1 && counter == 0 ? g->ecc : 77; /* uncorrected, volatile; or a wrong one */
    return 0;
}

int nvmlDeviceGetComputeRunningProcesses_v3(struct gpu *g, unsigned int *n, struct process *out) {
    unsigned int room = *n;
    *n = g->processes;
    if (g->processes > room) return 7;
    for (unsigned int i = 0; i < g->processes; i++)
        out[i].pid = 100 + i, out[i].used = 1, out[i].instance = out[i].compute = 0;
    return 0;
}

int nvmlDeviceGetMigMode(struct gpu *g, unsigned int *now, unsigned int *pending) {
    *now = *pending = g->mig;
    return 0;
}

int nvmlDeviceGetMaxMigDeviceCount(struct gpu *g, unsigned int *most) {
    *most = g->mig ? 8 : 0;
    return 0;
}

int nvmlDeviceGetMigDeviceHandleByIndex(struct gpu *g, unsigned int index, void **device) {
    if (index >= g->parts) return 6;
    *device = g->part[index];
    return 0;
}

int nvmlEventSetCreate(void **set) {
    *set = &count;
    return 0;
}

int nvmlEventSetFree(void *set) { return set == &count ? 0 : 2; }

int nvmlDeviceRegisterEvents(struct gpu *g, unsigned long long types, void *set) {
    (void)g;
    return types == 8 && set == &count ? 0 : 2; /* Xid errors, and nothing else */
}

int nvmlEventSetWait_v2(void *set, struct event *event, unsigned int timeout_ms) {
    (void)set;
    for (unsigned int i = 0; i < count; i++)
        if (gpus[i].xid) {
            memset(event, 0, sizeof *event);
            event->device = &gpus[i], event->type = 8, event->data = gpus[i].xid;
            gpus[i].xid = 0;
            return 0;
        }
    usleep(timeout_ms * 1000);
    return 10;
}
