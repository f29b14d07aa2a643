/* The wall clock is off by as many milliseconds as the control file `clock` says. It is read again every ten milliseconds. */
#define _GNU_SOURCE
#include "fault.h"

#include <stdatomic.h>
#include <sys/time.h>
#include <time.h>

static long long offset_ms(void) {
    static atomic_llong offset, read_at_ms;
    struct timespec now;
    REAL(clock_gettime)(CLOCK_MONOTONIC, &now);
    long long now_ms = (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000 + 1;
    long long last = atomic_load(&read_at_ms);
    if ((last == 0 || now_ms - last >= 10) && atomic_compare_exchange_strong(&read_at_ms, &last, now_ms))
        atomic_store(&offset, fault_number("clock", 0));
    return atomic_load(&offset);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = REAL(clock_gettime)(clock, now);
    if (result != 0 || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)) return result;
    long long nanos = (long long)now->tv_nsec + offset_ms() % 1000 * 1000000;
    now->tv_sec += offset_ms() / 1000;
    if (nanos < 0) {
        nanos += 1000000000;
        now->tv_sec -= 1;
    } else if (nanos >= 1000000000) {
        nanos -= 1000000000;
        now->tv_sec += 1;
    }
    now->tv_nsec = nanos;
    return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    (void)zone;
    struct timespec exact;
    int result = clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return result;
}

time_t time(time_t *seconds) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (seconds) *seconds = now.tv_sec;
    return now.tv_sec;
}
