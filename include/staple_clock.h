/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_CLOCK_H
#define STAPLE_CLOCK_H

/*
 * The clock for deadlines and for how long something took. It never jumps, as
 * the wall clock (apr_time_now) does when somebody sets it; but it has no date,
 * so it is never compared with a time of a certificate or a response, and
 * never stored for another machine or another boot. Any thread may call it.
 */

#include <time.h>

#include <apr_time.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Microseconds since a moment that stays the same while the machine runs. */
static inline apr_time_t staple_clock_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return apr_time_from_sec(now.tv_sec) + now.tv_nsec / 1000;
}

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_CLOCK_H */
