/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * How a generation begins. The refresher verifies what a ring file brought, on
 * as many threads as there are processors; and every child waits a moment
 * before its first accept for what is missing, which it sees in the ring.
 *
 * The one idea: there is one clock for the wait. It began with the ring, for
 * everybody, so a child that is born later than that has nothing to wait for.
 */

#include "refresh_int.h"
#include "staple_clock.h"

#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include <apr_thread_mutex.h>
#include <apr_thread_proc.h>

/* Threads take each at least so many responses: to verify one is a matter of
 * a tenth of a millisecond, or of a millisecond. */
#define RESPONSES_PER_THREAD 16
#define THREADS_MAX 64

/* ----- what a file brought ----- */

/* The work, which threads take from the front, one response at a time. */
#define WORK_MAGIC 0x434F4E46u

typedef struct work_t {
    staple_magic_t magic;
    const staple_refresh_t *refresh;
    const staple_cert_t **certs; /* whose responses are pending */
    int count;
    int workers;                 /* threads that take part */
    atomic_int next;             /* of certs, to be taken */
    atomic_int threads;          /* that have begun */
    apr_thread_mutex_t *mutex;   /* one thread at a time writes the ring */
} work_t;

static int is_pending(const staple_cache_t *cache, const staple_cert_t *cert)
{
    unsigned char none[1];
    apr_size_t len;

    return staple_cache_read_pending(cache, cert->slot, none, 0, &len, NULL)
           == APR_ENOSPC;
}

/* What is known of a pending response. */
typedef enum {
    IS_FALSE,
    IS_TRUE,
    IS_EARLY /* not valid yet: the clock may be wrong, so it stays pending */
} truth_e;

static truth_e truth_of_pending(const staple_refresh_t *refresh, int thread,
                                const staple_cert_t *cert,
                                unsigned char buf[STAPLE_CACHE_DER_MAX])
{
    const staple_cache_t *cache = refresh->conf.cache;
    staple_ocsp_verdict_t verdict;
    staple_cache_meta_t meta;
    apr_size_t len;

    if (staple_cache_read_pending(cache, cert->slot, buf,
                                  STAPLE_CACHE_DER_MAX, &len, &meta)) {
        return IS_FALSE;
    }
    if (!staple_refresh_is_believed(refresh, thread, cert, buf, len,
                                    &verdict)) {
        return verdict.reason == STAPLE_OCSP_NOT_YET_VALID
               || verdict.reason == STAPLE_OCSP_SIGNER_NOT_YET
               ? IS_EARLY : IS_FALSE;
    }
    return (apr_uint32_t)verdict.status == meta.status
           && verdict.this_update == meta.this_update
           && verdict.next_update == meta.next_update ? IS_TRUE : IS_FALSE;
}

static void confirm(work_t *work, int thread, const staple_cert_t *cert)
{
    staple_cache_t *cache = work->refresh->conf.cache;
    unsigned char buf[STAPLE_CACHE_DER_MAX];
    truth_e truth = truth_of_pending(work->refresh, thread, cert, buf);

    if (truth == IS_EARLY) {
        return;
    }
    apr_thread_mutex_lock(work->mutex);
    staple_cache_confirm(cache, cert->slot, truth == IS_TRUE);
    apr_thread_mutex_unlock(work->mutex);
}

/* Take one and do it; false: there is none left. Relaxed: nothing but the
 * number itself is passed on by it. */
static int confirm_next(work_t *work, int thread)
{
    int i = atomic_fetch_add_explicit(&work->next, 1, memory_order_relaxed);

    if (i >= work->count) {
        return 0;
    }
    confirm(work, thread, work->certs[i]);
    return 1;
}

static void *APR_THREAD_FUNC confirm_some(apr_thread_t *thread, void *data)
{
    work_t *work = STAPLE_CAST(work_t, WORK_MAGIC, data);
    int number = 1 + atomic_fetch_add_explicit(&work->threads, 1,
                                               memory_order_relaxed);

    (void)thread;
    apr_setup_signal_thread(); /* signals are for the first thread */
    while (confirm_next(work, number)) {
        continue;
    }
    return NULL;
}

int staple_refresh_is_set_aside(const staple_refresh_conf_t *conf,
                                const staple_cert_t *cert)
{
    int is_new;

    return conf->set_aside(conf->baton, cert->slot, &is_new) > apr_time_now();
}

/* Those that are must-staple, or the others; one that is set aside stays
 * pending, and so is not served. */
static void collect_pending(work_t *work, int are_must_staple)
{
    const staple_refresh_conf_t *conf = &work->refresh->conf;
    const apr_array_header_t *list = staple_cert_list(conf->registry);
    int i;

    for (i = 0; i < list->nelts; i++) {
        const staple_cert_t *cert = APR_ARRAY_IDX(list, i, staple_cert_t *);

        if (cert->slot >= 0 && cert->is_must_staple == are_must_staple
            && is_pending(conf->cache, cert)
            && !staple_refresh_is_set_aside(conf, cert)) {
            work->certs[work->count++] = cert;
        }
    }
}

/* Besides the one that asks. */
static int helpers_wanted(const staple_refresh_conf_t *conf, int count)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    int most = count / RESPONSES_PER_THREAD;

    if (conf->has_crashed(conf->baton)) {
        return 0;
    }
    if (processors > THREADS_MAX) {
        processors = THREADS_MAX;
    }
    return processors - 1 < most ? (int)processors - 1 : most;
}

/* Where there can be no thread, this one does it all. */
static void do_work(work_t *work, apr_pool_t *p)
{
    const staple_refresh_conf_t *conf = &work->refresh->conf;
    apr_thread_t *helpers[THREADS_MAX];
    int wanted = helpers_wanted(conf, work->count), count = 0;
    apr_status_t ignored;

    while (count < wanted
           && !apr_thread_create(&helpers[count], NULL, confirm_some, work,
                                 p)) {
        count++;
    }
    work->workers = count + 1;
    while (confirm_next(work, 0)) {
        conf->beat(conf->baton);
        if (conf->is_ending(conf->baton)) { /* nobody takes any more */
            atomic_store_explicit(&work->next, work->count,
                                  memory_order_relaxed);
        }
    }
    while (count > 0) {
        apr_thread_join(&ignored, helpers[--count]);
    }
}

void staple_refresh_confirm(const staple_refresh_t *refresh)
{
    apr_time_t started = staple_clock_now();
    work_t work;
    apr_pool_t *p;

    if (!staple_cache_pending(refresh->conf.cache)
        || apr_pool_create(&p, refresh->pool)) {
        return;
    }
    memset(&work, 0, sizeof(work));
    work.magic = WORK_MAGIC;
    work.refresh = refresh;
    work.certs = apr_palloc(p, staple_cache_count(refresh->conf.cache)
                               * sizeof(*work.certs));
    collect_pending(&work, 1);
    collect_pending(&work, 0);
    if (!apr_thread_mutex_create(&work.mutex, APR_THREAD_MUTEX_DEFAULT, p)) {
        do_work(&work, p);
        staple_refresh_log_confirmed(refresh->conf.server, work.count,
                                     work.workers,
                                     staple_clock_now() - started);
    }
    apr_pool_destroy(p);
}

/* ----- what children wait for ----- */

/* What has ended, as a restart may find it in memory, is not. */
static int is_servable(const staple_cache_t *cache, const staple_cert_t *cert,
                       apr_time_t now)
{
    staple_cache_meta_t meta;
    unsigned char none[1];
    apr_size_t len;

    return staple_cache_read(cache, cert->slot, none, 0, &len, &meta)
           != APR_NOTFOUND
           && !(meta.flags & STAPLE_RULES_IS_ERROR)
           && staple_rules_may_serve(cert->policy, &meta, now);
}

/* Where there is no responder, nothing comes but what lies in files; that may
 * have been looked at in vain, if the issuer is to be fetched first. */
static int comes_from_files(const staple_cert_t *cert)
{
    return !cert->urls->nelts && cert->issuer_slot < 0;
}

/* Whether nothing can be served for a certificate, and somebody is yet to try:
 * nobody asks about an expired one (RFC 9919 4.2). */
static int is_awaited(const staple_cache_t *cache, const staple_cert_t *cert,
                      const staple_refresh_warmup_t *warmup, apr_time_t since)
{
    apr_time_t now = apr_time_now();
    staple_cache_state_t state;

    if (cert->slot < 0 || now > cert->not_after
        || (comes_from_files(cert) && warmup->has_looked)
        || is_servable(cache, cert, now)) {
        return 0;
    }
    staple_cache_state(cache, cert->slot, &state);
    return state.last_attempt < since;
}

/* Whether the warm-up waits for a certificate: for longer where what is pending
 * needs a processor and nobody's answer. A clock that was set back since it
 * began ends it. */
static int holds_up(const staple_cache_t *cache, const staple_cert_t *cert,
                    const staple_refresh_warmup_t *warmup, apr_time_t since)
{
    apr_interval_time_t age = apr_time_now() - since;

    return age >= 0 && is_awaited(cache, cert, warmup, since)
           && (age < warmup->usual
               || (age < warmup->longer
                   && (cert->is_must_staple || is_pending(cache, cert))));
}

int staple_refresh_is_warming_up(const staple_cache_t *cache,
                                 const staple_cert_registry_t *registry,
                                 staple_refresh_warmup_t *warmup,
                                 apr_time_t born)
{
    const apr_array_header_t *list = staple_cert_list(registry);
    apr_time_t since = staple_cache_created(cache);

    since = born > since ? born : since;
    while (warmup->settled < list->nelts
           && !holds_up(cache, APR_ARRAY_IDX(list, warmup->settled,
                                             const staple_cert_t *),
                        warmup, since)) {
        warmup->settled++;
    }
    return warmup->settled < list->nelts;
}

/* Whether an attempt has come to its end in this generation, other than by the
 * end of whoever made it. */
static int was_tried(const staple_cache_t *cache, const staple_cert_t *cert)
{
    staple_cache_state_t state;

    staple_cache_state(cache, cert->slot, &state);
    return state.last_attempt >= staple_cache_created(cache)
           && state.outcome != STAPLE_FETCH_STOPPED;
}

/* Nobody is asked about an expired certificate, so nobody can wait for it. */
static int is_required(const staple_cert_t *cert, apr_time_t now)
{
    return cert->is_must_staple && cert->scope == STAPLE_CERT_APPLIES
           && now <= cert->not_after;
}

const char *staple_refresh_missing(const staple_cache_t *cache,
                                   const staple_cert_registry_t *registry,
                                   int is_successor)
{
    const apr_array_header_t *list = staple_cert_list(registry);
    unsigned char buf[STAPLE_CACHE_DER_MAX];
    apr_time_t now = apr_time_now();
    int i;

    for (i = 0; i < list->nelts; i++) {
        const staple_cert_t *cert = APR_ARRAY_IDX(list, i, staple_cert_t *);

        if (is_required(cert, now)) {
            held_t held = staple_refresh_read_held_into(cache, cert, now, buf);

            if (!staple_refresh_is_valid(&held)
                && (!is_successor || was_tried(cache, cert))) {
                return cert->name;
            }
        }
    }
    return NULL;
}
