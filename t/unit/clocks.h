/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_T_CLOCKS_H
#define STAPLE_T_CLOCKS_H

/*
 * The clocks of a unit test, moved without waiting: what the program and its
 * libraries ask goes through these stand-ins for libc's functions. The kernel
 * is not told. So with a wall clock that is ahead, the program is where it is
 * just after somebody has set the clock back: a date that it has just worked
 * out, for a wait, lies that far ahead.
 *
 * On Linux; elsewhere nothing can be moved.
 */

#include <apr_time.h>

/* Microseconds; change them while no other thread asks. */
static apr_interval_time_t wall_clock_ahead, steady_clock_ahead;

#ifdef __linux__

#define CAN_MOVE_CLOCKS 1

#include <time.h>
#include <unistd.h>
#include <sys/syscall.h>
#include <sys/time.h>

static apr_interval_time_t ahead_of(clockid_t clock)
{
    switch (clock) {
    case CLOCK_REALTIME:
        return wall_clock_ahead;
    case CLOCK_MONOTONIC:
        return steady_clock_ahead;
    default:
        return 0;
    }
}

/* 32 bits, with a time_t of 64. */
#ifdef SYS_clock_gettime64
#define CLOCK_GETTIME (sizeof(time_t) > sizeof(long) ? SYS_clock_gettime64 \
                                                     : SYS_clock_gettime)
#else
#define CLOCK_GETTIME SYS_clock_gettime
#endif

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int rv = (int)syscall(CLOCK_GETTIME, clock, now);
    apr_time_t usec = apr_time_from_sec(now->tv_sec) + now->tv_nsec / 1000
                      + ahead_of(clock);

    now->tv_sec = (time_t)apr_time_sec(usec);
    now->tv_nsec = (long)apr_time_usec(usec) * 1000 + now->tv_nsec % 1000;
    return rv;
}

#define ZONE void /* as the library declares it */
#ifdef __GLIBC__
#if !__GLIBC_PREREQ(2, 31)
#undef ZONE
#define ZONE struct timezone
#endif
#endif

int gettimeofday(struct timeval *restrict now, ZONE *restrict zone)
{
    struct timespec spec;
    int rv = clock_gettime(CLOCK_REALTIME, &spec);

    (void)zone;
    now->tv_sec = spec.tv_sec;
    now->tv_usec = spec.tv_nsec / 1000;
    return rv;
}

#else

#define CAN_MOVE_CLOCKS 0

#endif

#endif /* STAPLE_T_CLOCKS_H */
