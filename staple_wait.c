/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * A lock and a condition, and a thread that waits so, see include/staple_wait.h
 * for the contract.
 *
 * The one idea: POSIX lets a condition have the clock that never jumps
 * (pthread_condattr_setclock). macOS has no such call, but one that waits for a
 * span.
 */

#include "staple_wait.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>

#include "staple_clock.h"
#include "staple_magic.h"

#define WAIT_MAGIC 0x57414954u

struct staple_wait_t {
    staple_magic_t magic;
    pthread_mutex_t lock;
    pthread_cond_t changed;
};

static struct timespec timespec_of(apr_time_t time)
{
    struct timespec spec;

    spec.tv_sec = (time_t)apr_time_sec(time);
    spec.tv_nsec = (long)apr_time_usec(time) * 1000;
    return spec;
}

#ifdef __APPLE__

static int make_condition(pthread_cond_t *cond)
{
    return pthread_cond_init(cond, NULL);
}

static void wait_until(staple_wait_t *wait, apr_time_t until)
{
    apr_interval_time_t span = until - staple_clock_now();
    struct timespec spec = timespec_of(span > 0 ? span : 0);

    pthread_cond_timedwait_relative_np(&wait->changed, &wait->lock, &spec);
}

#else

static int make_condition(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    int error = pthread_condattr_init(&attr);

    if (error) {
        return error;
    }
    error = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    if (!error) {
        error = pthread_cond_init(cond, &attr);
    }
    pthread_condattr_destroy(&attr);
    return error;
}

static void wait_until(staple_wait_t *wait, apr_time_t until)
{
    struct timespec spec = timespec_of(until);

    pthread_cond_timedwait(&wait->changed, &wait->lock, &spec);
}

#endif

static apr_status_t on_end(void *data)
{
    staple_wait_t *wait = STAPLE_CAST(staple_wait_t, WAIT_MAGIC, data);

    pthread_cond_destroy(&wait->changed);
    pthread_mutex_destroy(&wait->lock);
    return APR_SUCCESS;
}

apr_status_t staple_wait_make(staple_wait_t **waitp, apr_pool_t *p)
{
    staple_wait_t *wait = apr_pcalloc(p, sizeof(*wait));
    int error = pthread_mutex_init(&wait->lock, NULL);

    if (error) {
        return error;
    }
    wait->magic = WAIT_MAGIC;
    error = make_condition(&wait->changed);
    if (error) {
        pthread_mutex_destroy(&wait->lock);
        return error;
    }
    apr_pool_cleanup_register(p, wait, on_end, apr_pool_cleanup_null);
    *waitp = wait;
    return APR_SUCCESS;
}

void staple_wait_lock(staple_wait_t *wait)
{
    pthread_mutex_lock(&wait->lock);
}

void staple_wait_unlock(staple_wait_t *wait)
{
    pthread_mutex_unlock(&wait->lock);
}

void staple_wait_until(staple_wait_t *wait, apr_time_t until)
{
    if (until == STAPLE_WAIT_NEVER) {
        pthread_cond_wait(&wait->changed, &wait->lock);
    }
    else {
        wait_until(wait, until);
    }
}

void staple_wait_wake(staple_wait_t *wait)
{
    pthread_cond_broadcast(&wait->changed);
}

apr_status_t staple_wait_start(apr_thread_start_t run, void *baton,
                               apr_pool_t *p)
{
    sigset_t all, before;
    apr_thread_t *thread;
    apr_threadattr_t *attr;
    apr_status_t rv = apr_threadattr_create(&attr, p);

    if (!rv) {
        rv = apr_threadattr_detach_set(attr, 1);
    }
    if (rv) {
        return rv;
    }
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rv = apr_thread_create(&thread, attr, run, baton, p);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rv;
}
