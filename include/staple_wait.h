/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_WAIT_H
#define STAPLE_WAIT_H

/*
 * A lock, and waiting for what others change under it, until a moment of the
 * clock that never jumps (staple_clock.h). The conditions of APR wait until a
 * date: when the wall clock is set back by an hour, they wait an hour longer.
 *
 * One object is one lock (pthread_mutex_t) with one condition. Any thread of
 * the process may use it; it is not for several processes. And the start of a
 * thread that waits so.
 */

#include <apr_pools.h>
#include <apr_thread_proc.h>
#include <apr_time.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct staple_wait_t staple_wait_t;

/** A moment that never comes. */
#define STAPLE_WAIT_NEVER APR_INT64_MAX

/**
 * Make one, which nobody has locked.
 * @param p it ends with this pool; no thread may use it any more then
 */
apr_status_t staple_wait_make(staple_wait_t **wait, apr_pool_t *p);

void staple_wait_lock(staple_wait_t *wait);
void staple_wait_unlock(staple_wait_t *wait);

/**
 * Wait until somebody wakes, or until a moment has come. It may also return
 * without a reason, so look what has changed, and at the clock. The lock is
 * held before and afterwards, and not held meanwhile.
 * @param until of staple_clock_now; STAPLE_WAIT_NEVER: only wait to be woken
 */
void staple_wait_until(staple_wait_t *wait, apr_time_t until);

/** Wake all who wait. Without the lock, who has just looked and is about to
 * wait may miss it, and waits until its moment. */
void staple_wait_wake(staple_wait_t *wait);

/**
 * Start a thread for which nobody waits at its end, and to which no signal
 * comes: those are for the first thread.
 * @param p what it is made of; no thread may be there any more when this ends
 */
apr_status_t staple_wait_start(apr_thread_start_t run, void *baton,
                               apr_pool_t *p);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_WAIT_H */
