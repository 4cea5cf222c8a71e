/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * For LD_PRELOAD, in httpd: the worst moment for a thread to end. A watchdog's
 * thread, which no one joins, is kept from ending until its process is in
 * exit(); and exit() is kept, while OpenSSL cleans up after itself, from going
 * on until that thread has ended. LAST_THREAD says when: as the first, second
 * ... key of thread-specific data is deleted there.
 *
 * The thread is known by a call that no other makes: it tries to lead. Where
 * it does not come, or does not go, everything goes on after PATIENCE.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* RTLD_NEXT */
#endif

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <apr_proc_mutex.h>
#include <apr_thread_proc.h>

#define PATIENCE 5000 /* pauses */
#define PAUSE 1000    /* microseconds */

/* The real one of a function that is defined here. */
#define REAL(name) ((__typeof__(&(name)))real(#name))

static atomic_int thread; /* its id; 0: there is none */
static atomic_int is_at_its_end, may_end;
static _Thread_local int is_in_exit, keys;

static void *real(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

static int own_id(void)
{
    return (int)syscall(SYS_gettid);
}

static int is_there(void)
{
    return syscall(SYS_tgkill, getpid(), atomic_load(&thread), 0) == 0;
}

static void wait_until(atomic_int *flag)
{
    int i;

    for (i = 0; i < PATIENCE && !atomic_load(flag); i++) {
        usleep(PAUSE);
    }
}

static void wait_for_end(void)
{
    int i;

    for (i = 0; i < PATIENCE && is_there(); i++) {
        usleep(PAUSE);
    }
}

apr_status_t apr_proc_mutex_trylock(apr_proc_mutex_t *mutex)
{
    atomic_store(&thread, own_id());
    return REAL(apr_proc_mutex_trylock)(mutex);
}

apr_status_t apr_thread_exit(apr_thread_t *self, apr_status_t rv)
{
    if (atomic_load(&thread) == own_id()) {
        atomic_store(&is_at_its_end, 1);
        wait_until(&may_end);
    }
    return REAL(apr_thread_exit)(self, rv);
}

int pthread_key_delete(pthread_key_t key)
{
    const char *which = getenv("LAST_THREAD");

    if (is_in_exit && which && atomic_load(&thread)
        && ++keys == atoi(which)) {
        wait_until(&is_at_its_end);
        atomic_store(&may_end, 1);
        wait_for_end();
    }
    return REAL(pthread_key_delete)(key);
}

void exit(int status)
{
    is_in_exit = 1;
    REAL(exit)(status);
    abort(); /* not reached */
}
