/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The preflight: whom a firewall has to let out, by name, port and addresses.
 * In a child without privileges.
 *
 * The one idea: a look-up takes as long as a name server likes, so all are made
 * side by side, on threads, and none is waited for after the deadline. The
 * process ends by _exit with threads that still wait.
 */

#include "preflight_int.h"

#include <stdio.h>

#include <apr_network_io.h>
#include <apr_strings.h>
#include <apr_thread_cond.h>
#include <apr_thread_mutex.h>
#include <apr_thread_proc.h>

#include "staple_clock.h"

/* How long all look-ups may take together, and how many are made at a time. */
#define DEADLINE apr_time_from_sec(5)
#define THREADS_MAX 64

/* What the threads have in common. */
#define LOOKUPS_MAGIC 0x4C4F4F4Bu

typedef struct lookups_t {
    staple_magic_t magic;
    const apr_array_header_t *targets; /* staple_preflight_target_t * */
    const char **texts; /* of each target: its addresses; NULL: none yet */
    apr_status_t *errors;
    int next;           /* the target to be looked up next */
    int done;           /* how many are */
    apr_thread_mutex_t *mutex; /* of all this */
    apr_thread_cond_t *progress;
} lookups_t;

static const char *address_text(const apr_sockaddr_t *address, apr_pool_t *p)
{
    const char *text = "";
    char *ip;

    for (; address; address = address->next) {
        if (apr_sockaddr_ip_get(&ip, (apr_sockaddr_t *)address)
            == APR_SUCCESS) {
            text = apr_pstrcat(p, text, *text ? ", " : "", ip, NULL);
        }
    }
    return text;
}

/* Look one name up, without the mutex; the pool is this look-up's alone, and
 * stays, because its text does. */
static void look_up(lookups_t *lookups, int i)
{
    const staple_preflight_target_t *target
        = APR_ARRAY_IDX(lookups->targets, i, staple_preflight_target_t *);
    apr_sockaddr_t *address;
    const char *text = "";
    apr_pool_t *p;
    apr_status_t rv = apr_pool_create_unmanaged_ex(&p, NULL, NULL);

    if (!rv) {
        rv = apr_sockaddr_info_get(&address, target->host, APR_UNSPEC,
                                   target->port, 0, p);
    }
    if (!rv) {
        text = address_text(address, p);
    }
    apr_thread_mutex_lock(lookups->mutex);
    lookups->texts[i] = text;
    lookups->errors[i] = rv;
    lookups->done++;
    apr_thread_cond_signal(lookups->progress);
    apr_thread_mutex_unlock(lookups->mutex);
}

static void *APR_THREAD_FUNC look_up_some(apr_thread_t *thread, void *baton)
{
    lookups_t *lookups = STAPLE_CAST(lookups_t, LOOKUPS_MAGIC, baton);
    int i;

    (void)thread;
    for (;;) {
        apr_thread_mutex_lock(lookups->mutex);
        i = lookups->next++;
        apr_thread_mutex_unlock(lookups->mutex);
        if (i >= lookups->targets->nelts) {
            return NULL;
        }
        look_up(lookups, i);
    }
}

static apr_status_t start_threads(lookups_t *lookups, apr_pool_t *p)
{
    apr_threadattr_t *attr;
    apr_thread_t *thread;
    apr_status_t rv = apr_threadattr_create(&attr, p);
    int i;

    apr_threadattr_detach_set(attr, 1);
    for (i = 0; !rv && i < lookups->targets->nelts && i < THREADS_MAX; i++) {
        rv = apr_thread_create(&thread, attr, look_up_some, lookups, p);
    }
    return i > 0 ? APR_SUCCESS : rv;
}

/* With the mutex. */
static void wait_for_all(lookups_t *lookups)
{
    apr_time_t until = staple_clock_now() + DEADLINE;
    apr_interval_time_t left = DEADLINE;

    while (lookups->done < lookups->targets->nelts && left > 0) {
        apr_thread_cond_timedwait(lookups->progress, lookups->mutex, left);
        left = until - staple_clock_now();
    }
}

/* Whether it needs attention. */
static int report_target(const staple_preflight_target_t *target,
                         const char *text, apr_status_t error)
{
    char why[120];

    if (!text || error) {
        printf("  !!           %s port %u cannot be resolved: %s\n",
               target->host, (unsigned)target->port,
               text ? apr_strerror(error, why, sizeof(why))
                    : "no answer within 5 seconds");
        return 1;
    }
    printf("  %s port %u (%s, %d use%s): %s\n", target->host,
           (unsigned)target->port, target->role, target->uses,
           target->uses == 1 ? "" : "s", text);
    return 0;
}

/* In the child. */
static int look_up_all(void *baton, apr_pool_t *p)
{
    lookups_t *lookups = STAPLE_CAST(lookups_t, LOOKUPS_MAGIC, baton);
    const apr_array_header_t *targets = lookups->targets;
    apr_size_t count = (apr_size_t)targets->nelts;
    int troubles = 0;
    int i;

    lookups->texts = apr_pcalloc(p, count * sizeof(*lookups->texts));
    lookups->errors = apr_pcalloc(p, count * sizeof(*lookups->errors));
    if (apr_thread_mutex_create(&lookups->mutex, APR_THREAD_MUTEX_DEFAULT, p)
        || apr_thread_cond_create(&lookups->progress, p)
        || start_threads(lookups, p)) {
        printf("  !!           no thread can be started\n");
        return 1;
    }
    apr_thread_mutex_lock(lookups->mutex);
    wait_for_all(lookups);
    for (i = 0; i < targets->nelts; i++) {
        troubles += report_target(
            APR_ARRAY_IDX(targets, i, staple_preflight_target_t *),
            lookups->texts[i], lookups->errors[i]);
    }
    return troubles;
}

int staple_preflight_names(server_rec *s, apr_array_header_t *targets,
                           apr_pool_t *p)
{
    lookups_t lookups = { 0 };

    if (!targets->nelts) {
        printf("  nobody\n");
        return 0;
    }
    lookups.magic = LOOKUPS_MAGIC;
    lookups.targets = targets;
    return staple_preflight_in_child(s, look_up_all, &lookups, p);
}
