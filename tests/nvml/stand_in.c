/* A stand-in for libnvidia-ml.so.1: plays back what the file named by NVML_PLAYBACK holds, through NVML's own ABI.
 *
 * A line is a function's name and what its calls return, one value after the other, the last one again and again:
 *
 *     nvmlDeviceGetPowerUsage 301000 299500 !10 300000
 *
 * !N is the return code N instead of a value; ~W is a counter that W milliwatts have been filling since the library
 * was loaded, in steps of a twentieth of a second. A function without a line is not supported. nvmlField186 is the
 * field 186 of nvmlDeviceGetFieldValues; nvmlProcess the memory of this process.
 *
 * Compiled with -DOLD it has no fields: a driver from before them.
 */
#define _POSIX_C_SOURCE 200809L
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SUCCESS = 0, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, LINES = 64, TOKENS = 64, LENGTH = 96 };

static struct { char name[LENGTH]; char tokens[TOKENS][LENGTH]; int count, next; } lines[LINES];
static int line_count;
static double loaded;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

__attribute__((constructor)) static void load(void) {
    const char *path = getenv("NVML_PLAYBACK");
    FILE *file = path ? fopen(path, "r") : NULL;
    char text[TOKENS * LENGTH];
    loaded = now();
    while (file && line_count < LINES && fgets(text, sizeof text, file)) {
        char *word = strtok(text, " \n");
        if (!word) continue;
        snprintf(lines[line_count].name, LENGTH, "%s", word);
        while ((word = strtok(NULL, " \n")) && lines[line_count].count < TOKENS)
            snprintf(lines[line_count].tokens[lines[line_count].count++], LENGTH, "%s", word);
        line_count++;
    }
    if (file) fclose(file);
}

static const char *token(const char *name) {
    for (int i = 0; i < line_count; i++)
        if (!strcmp(lines[i].name, name) && lines[i].count) {
            int at = lines[i].next;
            if (at + 1 < lines[i].count) lines[i].next++;
            return lines[i].tokens[at];
        }
    return NULL;
}

static int number(const char *name, unsigned long long *value) {
    const char *text = token(name);
    if (!text) return NOT_SUPPORTED;
    if (*text == '!') return atoi(text + 1);
    if (*text == '~') *value = (unsigned long long)(atof(text + 1) * 0.05 * (long long)((now() - loaded) / 0.05));
    else *value = strtoull(text, NULL, 10);
    return SUCCESS;
}

static int as_int(const char *name, unsigned int *out) {
    unsigned long long value = 0;
    int code = number(name, &value);
    if (!code) *out = (unsigned int)value;
    return code;
}

static int as_text(const char *name, char *out, unsigned int length) {
    const char *text = token(name);
    if (!text) return NOT_SUPPORTED;
    if (*text == '!') return atoi(text + 1);
    snprintf(out, length, "%s", text);
    return SUCCESS;
}

int nvmlInitWithFlags(unsigned int flags) {
    unsigned int code = 0;
    (void)flags;
    return as_int("nvmlInit", &code) == NOT_SUPPORTED ? SUCCESS : (int)code;
}
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int code) { (void)code; return "an error of the stand-in"; }
int nvmlSystemGetDriverVersion(char *out, unsigned int length) { return as_text("nvmlSystemGetDriverVersion", out, length); }

int nvmlDeviceGetHandleByUUID(const char *uuid, void **device) {
    const char *known = token("uuid");
    if (known && *known == '!') return atoi(known + 1);
    if (!known || strcmp(known, uuid)) return NOT_FOUND;
    *device = lines;
    return SUCCESS;
}
int nvmlDeviceGetName(void *device, char *out, unsigned int length) {
    (void)device;
    return as_text("nvmlDeviceGetName", out, length);
}

#define NUMBER(function) \
    int function(void *device, unsigned int *out) { (void)device; return as_int(#function, out); }
NUMBER(nvmlDeviceGetPowerUsage)
NUMBER(nvmlDeviceGetEnforcedPowerLimit)
NUMBER(nvmlDeviceGetPowerManagementDefaultLimit)
NUMBER(nvmlDeviceGetArchitecture)

int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *out) {
    (void)device;
    return number("nvmlDeviceGetTotalEnergyConsumption", out);
}
int nvmlDeviceGetCurrentClocksThrottleReasons(void *device, unsigned long long *out) {
    (void)device;
    return number("nvmlDeviceGetCurrentClocksThrottleReasons", out);
}
int nvmlDeviceGetUtilizationRates(void *device, unsigned int *out) {
    (void)device;
    out[1] = 0;
    return as_int("nvmlDeviceGetUtilizationRates", out);
}
int nvmlDeviceGetTemperature(void *device, unsigned int sensor, unsigned int *out) {
    (void)device, (void)sensor;
    return as_int("nvmlDeviceGetTemperature", out);
}
int nvmlDeviceGetClockInfo(void *device, unsigned int type, unsigned int *out) {
    char name[LENGTH];
    (void)device;
    snprintf(name, LENGTH, "nvmlDeviceGetClockInfo%u", type);
    return as_int(name, out);
}
int nvmlDeviceGetMaxClockInfo(void *device, unsigned int type, unsigned int *out) {
    char name[LENGTH];
    (void)device;
    snprintf(name, LENGTH, "nvmlDeviceGetMaxClockInfo%u", type);
    return as_int(name, out);
}

struct process { unsigned int pid; unsigned long long memory; unsigned int instance, compute; };

int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned int *count, struct process *out) {
    unsigned long long memory = 0;
    (void)device;
    if (*count < 2) { *count = 2; return INSUFFICIENT_SIZE; }
    int code = number("nvmlProcess", &memory);
    out[0] = (struct process){1, 12345, 0, 0};      /* somebody else's */
    out[1] = (struct process){getpid(), memory, 0, 0};
    *count = code ? 1 : 2;
    return SUCCESS;
}

#ifndef OLD
struct field { uint32_t id, scope; int64_t time, latency; uint32_t type, code; union { double d; uint32_t u; uint64_t w; } value; };

int nvmlDeviceGetFieldValues(void *device, int count, struct field *fields) {
    (void)device;
    for (int i = 0; i < count; i++) {
        char name[LENGTH];
        unsigned int value = 0;
        snprintf(name, LENGTH, "nvmlField%u", fields[i].id);
        fields[i].code = as_int(name, &value);
        fields[i].type = 1;                          /* unsigned int */
        fields[i].value.u = value;
    }
    return SUCCESS;
}
#endif
