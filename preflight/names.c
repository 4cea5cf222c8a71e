/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The preflight: the addresses of those whom a firewall has to let this server
 * reach. In a child without privileges.
 *
 * The one idea: a look-up takes as long as a name server likes, so all are made
 * side by side, on threads, and none is waited for after the deadline. The
 * process ends by _exit with threads that still wait.
 */

#include "preflight_int.h"

#include <stdlib.h>
#include <string.h>

#include <apr_network_io.h>
#include <apr_strings.h>
#include <apr_thread_proc.h>

#include "staple_clock.h"
#include "staple_wait.h"

/* How long all look-ups may take together, and how many are made at a time. */
#define DEADLINE apr_time_from_sec(5)
#define THREADS_MAX 64

/* The second field of a line. */
#define FOUND "found"
#define DENIED "denied"
#define FAILED "failed"

/* What a look-up brought; text is NULL until it has ended. */
typedef struct looked_up_t {
    const char *text; /* the addresses */
    apr_status_t error;
    const char *refusal; /* why none of them may be asked; NULL: one may */
} looked_up_t;

/* Of a lookups_t. */
#define LOOKUPS_MAGIC 0x4C4F4F4Bu

/* What the threads have in common. */
typedef struct lookups_t {
    staple_magic_t magic;
    const apr_array_header_t *targets; /* preflight_target_t * */
    const staple_fetch_conf_t *fetch;
    looked_up_t *results;
    int next;           /* the target to be looked up next */
    int done;           /* how many are */
    staple_wait_t *wait; /* its lock is that of all this */
} lookups_t;

/* ----- in the child ----- */

static void note_addresses(looked_up_t *result, const lookups_t *lookups,
                           const preflight_target_t *target,
                           const apr_sockaddr_t *address, apr_pool_t *p)
{
    const staple_fetch_conf_t *fetch = lookups->fetch;
    const char *refusal = NULL;
    int may_ask = 0;
    char *ip;

    result->text = "";
    for (; address; address = address->next) {
        if (apr_sockaddr_ip_get(&ip, (apr_sockaddr_t *)address)) {
            continue;
        }
        result->text = apr_pstrcat(p, result->text, *result->text ? ", " : "",
                                   ip, NULL);
        refusal = fetch->refusal && !target->is_proxy
                  ? fetch->refusal(fetch->refusal_baton, target->host, ip,
                                   target->port) : NULL;
        may_ask |= !refusal;
    }
    result->refusal = may_ask ? NULL : refusal;
}

/* Look one name up, without the lock; the pool is this look-up's alone, and
 * stays, because its text does. */
static void look_up(lookups_t *lookups, int i)
{
    const preflight_target_t *target
        = APR_ARRAY_IDX(lookups->targets, i, const preflight_target_t *);
    looked_up_t result = { "", APR_SUCCESS, NULL };
    apr_sockaddr_t *address;
    apr_pool_t *p;

    result.error = apr_pool_create_unmanaged_ex(&p, NULL, NULL);
    if (!result.error) {
        result.error = apr_sockaddr_info_get(&address, target->host,
                                             APR_UNSPEC, target->port, 0, p);
    }
    if (!result.error) {
        note_addresses(&result, lookups, target, address, p);
    }
    staple_wait_lock(lookups->wait);
    lookups->results[i] = result;
    lookups->done++;
    staple_wait_wake(lookups->wait);
    staple_wait_unlock(lookups->wait);
}

static void *APR_THREAD_FUNC work(apr_thread_t *thread, void *baton)
{
    lookups_t *lookups = STAPLE_CAST(lookups_t, LOOKUPS_MAGIC, baton);
    int i;

    (void)thread;
    for (;;) {
        staple_wait_lock(lookups->wait);
        i = lookups->next++;
        staple_wait_unlock(lookups->wait);
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
        rv = apr_thread_create(&thread, attr, work, lookups, p);
    }
    return i > 0 ? APR_SUCCESS : rv;
}

/* With the lock. */
static void wait_for_all(lookups_t *lookups)
{
    apr_time_t until = staple_clock_now() + DEADLINE;

    while (lookups->done < lookups->targets->nelts
           && staple_clock_now() < until) {
        staple_wait_until(lookups->wait, until);
    }
}

static void put_result(FILE *out, int i, const looked_up_t *result)
{
    char why[120];

    if (!result->text || result->error) {
        fprintf(out, "%d\t" FAILED "\t%s\n", i, result->text
                ? apr_strerror(result->error, why, sizeof(why))
                : "no answer within 5 seconds");
        return;
    }
    fprintf(out, "%d\t%s\t%s\t%s\n", i, result->refusal ? DENIED : FOUND,
            result->text, result->refusal ? result->refusal : "");
}

static void look_up_all(FILE *out, void *baton, apr_pool_t *p)
{
    const preflight_t *report = STAPLE_CAST(const preflight_t,
                                            PREFLIGHT_MAGIC, baton);
    lookups_t *lookups = apr_pcalloc(p, sizeof(*lookups));
    int i, count = report->targets->nelts;

    lookups->magic = LOOKUPS_MAGIC;
    lookups->targets = report->targets;
    lookups->fetch = &report->conf->fetch;
    lookups->results = apr_pcalloc(p, (apr_size_t)count
                                      * sizeof(*lookups->results));
    if (staple_wait_make(&lookups->wait, p) || start_threads(lookups, p)) {
        return; /* each is reported as not answered */
    }
    staple_wait_lock(lookups->wait);
    wait_for_all(lookups);
    for (i = 0; i < count; i++) {
        put_result(out, i, &lookups->results[i]);
    }
}

/* ----- in the parent ----- */

static void take_result(preflight_t *report, const preflight_line_t *line)
{
    static const staple_state_advice_t none = { "", "" };
    const char *const *field = line->fields;
    int i = atoi(field[0]);
    preflight_target_t *target;
    staple_state_advice_t advice = { "the name service", "" };

    if (i < 0 || i >= report->targets->nelts) {
        return;
    }
    target = APR_ARRAY_IDX(report->targets, i, preflight_target_t *);
    if (!strcmp(field[1], FOUND)) {
        target->addresses = field[2];
        return;
    }
    target->is_denied = !strcmp(field[1], DENIED);
    if (target->is_denied) {
        staple_preflight_add(
            report, staple_preflight_target_text(target, report->pool),
            apr_psprintf(report->pool, "its address %s %s", field[2],
                         field[3]), &none);
        return;
    }
    advice.remedy = apr_psprintf(report->pool, "run: getent hosts %s; if that "
                                 "prints nothing, check /etc/resolv.conf",
                                 target->host);
    staple_preflight_add(
        report, staple_preflight_target_text(target, report->pool),
        apr_psprintf(report->pool, "cannot be resolved: %s", field[2]),
        &advice);
}

void staple_preflight_names(preflight_t *report)
{
    static const staple_state_advice_t none = { "", "" };
    apr_array_header_t *lines;
    const char *wrong;
    int i;

    if (!report->targets->nelts) {
        return;
    }
    wrong = staple_preflight_in_child(report->conf->server, look_up_all,
                                      report, &lines, report->pool);
    for (i = 0; i < lines->nelts; i++) {
        take_result(report, &APR_ARRAY_IDX(lines, i, preflight_line_t));
    }
    if (wrong) {
        staple_preflight_add(report, "the names of responders", wrong, &none);
    }
}
