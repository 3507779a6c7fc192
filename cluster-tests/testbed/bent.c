/* Bends three functions of the C library under a node, so that a test can move its wall clock, slow its disk and break it.
 *
 * Loaded with LD_PRELOAD. TIDINGS_BENT names a folder, read again and again while the node runs:
 *   clock   seconds added to CLOCK_REALTIME
 *   sync    milliseconds that each fdatasync and fsync takes longer
 *   broken  anything but 0: each fdatasync and fsync fails with EIO, as of a disk that is dying
 * Built by the fault that needs it: cc -shared -fPIC -O2 -o bent.so bent.c */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long long monotonic_ms(void) {
    struct timespec now;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* The number in a file of the folder; 0 if there is none. */
static long number(const char *name) {
    const char *folder = getenv("TIDINGS_BENT");
    char path[512], text[32];
    if (!folder || snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path) return 0;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    if (length <= 0) return 0;
    text[length] = 0;
    return atol(text);
}

/* The clock is read very often, so its file is looked at ten times a second at most. */
static long shift(void) {
    static _Atomic long kept;
    static _Atomic long long next;
    long long now = monotonic_ms(), due = atomic_load(&next);
    if (now >= due && atomic_compare_exchange_strong(&next, &due, now + 100)) atomic_store(&kept, number("clock"));
    return atomic_load(&kept);
}

int clock_gettime(clockid_t id, struct timespec *time) {
    int result = (int)syscall(SYS_clock_gettime, id, time);
    if (result == 0 && id == CLOCK_REALTIME) time->tv_sec += shift();
    return result;
}

static void linger(void) {
    long ms = number("sync");
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
    if (ms > 0) nanosleep(&pause, NULL);
}

/* Whether the disk is broken; errno says so. */
static int broken(void) {
    if (number("broken") == 0) return 0;
    errno = EIO;
    return 1;
}

int fdatasync(int file) {
    linger();
    if (broken()) return -1;
    return (int)syscall(SYS_fdatasync, file);
}

int fsync(int file) {
    linger();
    if (broken()) return -1;
    return (int)syscall(SYS_fsync, file);
}
