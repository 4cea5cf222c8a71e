/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Finding out soon that a responder answers again. While a certificate has
 * nothing valid to staple because its responder does not answer, one question,
 * a probe, goes to that responder every few seconds, whatever the pauses of the
 * certificates are; when it is answered, everything that waits for the
 * responder is asked for at once. What does not live here: how often that is
 * (staple_rules_probe_interval), and what an answer means (refresh/round.c).
 *
 * The one idea: pauses protect the responder from many questions, and a
 * thousand certificates have one question in common: does it answer? So one of
 * them asks for all.
 *
 * An example: four certificates, a responder that refuses connections.
 *
 *    0.0 s  all four fail; the first pause of each is about 5 s. The outage
 *           begins (staple_refresh_note_outage).
 *    3 s    the first probe, about one of them: refused.
 *    6 s    the second one, about another of them; and so on, every 3 s.
 *   20 s    the responder is back. The pauses of the four are at 20 s by now.
 *   21 s    a probe is answered: its certificate has its staple, the others are
 *           due (staple_refresh_note_answer), and have theirs a moment later.
 */

#include "refresh_int.h"

#include <string.h>

/* How often is looked whether a probe is due. */
#define TICK apr_time_from_msec(250)

/* A round that has lasted so long may be one of an outage that has just begun:
 * its deadline is not waited for. */
#define SLOW_ROUND SECONDS(3)

/* What "too many requests" means where no Retry-After says it. */
#define TOO_MANY_PAUSE SECONDS(30)

/* The longest Retry-After that is obeyed, as with any failure. */
#define RETRY_AFTER_MAX SECONDS(3600)

static const char *url_of(const staple_cert_t *cert, int i)
{
    return APR_ARRAY_IDX(cert->urls, i, const char *);
}

/* What is known of a responder; made at its first mention. The URLs are those
 * of certificates, so there is an end to them. */
static outage_t *outage_of(staple_refresh_t *refresh, const char *url)
{
    outage_t *outage = apr_hash_get(refresh->outages, url,
                                    APR_HASH_KEY_STRING);

    if (!outage) {
        outage = apr_pcalloc(refresh->pool, sizeof(*outage));
        outage->url = url;
        apr_hash_set(refresh->outages, url, APR_HASH_KEY_STRING, outage);
    }
    return outage;
}

void staple_refresh_set_missing(task_t *task, int is_missing)
{
    if (task->is_missing == is_missing) {
        return;
    }
    task->is_missing = is_missing;
    if (is_missing) {
        APR_RING_INSERT_TAIL(&task->refresh->missing, task, task_t, missing);
    }
    else {
        APR_RING_REMOVE(task, missing);
    }
}

/* ----- what is noted ----- */

/* A task waits for a responder that has answered nobody since it began to
 * wait. Otherwise the matter is the certificate, and no probe will help. */
static void note_wait(task_t *task, apr_time_t since, apr_time_t now)
{
    int i;

    for (i = 0; i < task->cert->urls->nelts; i++) {
        outage_t *outage = outage_of(task->refresh, url_of(task->cert, i));

        if (!outage->since && outage->answered_at < since) {
            outage->since = now;
            outage->next_probe = now + staple_rules_probe_interval(0);
        }
    }
}

/* A Retry-After wins over everything, and 429 asks for the like. */
static void wait_as_told(outage_t *outage, const staple_fetch_answer_t *answer,
                         apr_time_t now)
{
    apr_interval_time_t pause = answer->retry_after;

    if (pause < 0 && answer->http_status == 429) {
        pause = TOO_MANY_PAUSE;
    }
    if (pause > RETRY_AFTER_MAX) {
        pause = RETRY_AFTER_MAX;
    }
    if (pause > 0 && now + pause > outage->not_before) {
        outage->not_before = now + pause;
    }
}

void staple_refresh_note_pause(const task_t *task,
                               const staple_fetch_answer_t *answer,
                               apr_time_t now)
{
    wait_as_told(outage_of(task->refresh,
                           url_of(task->cert, answer->url_index)),
                 answer, now);
}

/* Whether a failure has nothing to do with what was asked. */
static int is_of_all(const staple_fetch_answer_t *answer)
{
    return answer->outcome == STAPLE_FETCH_NO_NAME
           || answer->outcome == STAPLE_FETCH_REFUSED
           || answer->outcome == STAPLE_FETCH_UNREACHABLE
           || answer->outcome == STAPLE_FETCH_CONNECT_TIMEOUT;
}

void staple_refresh_note_outage(task_t *task,
                                const staple_fetch_answer_t *answer,
                                apr_time_t now)
{
    if (!task->failing_since) {
        task->failing_since = now;
    }
    if (task->is_missing) {
        note_wait(task, is_of_all(answer) ? now : task->failing_since, now);
    }
}

static int is_named(const staple_cert_t *cert, const char *url)
{
    int i;

    for (i = 0; i < cert->urls->nelts; i++) {
        if (!strcmp(url_of(cert, i), url)) {
            return 1;
        }
    }
    return 0;
}

void staple_refresh_note_answer(staple_refresh_t *refresh, const char *url,
                                apr_time_t now)
{
    outage_t *outage = outage_of(refresh, url);
    apr_time_t since = outage->since;
    apr_size_t i;

    outage->answered_at = now;
    outage->since = outage->not_before = 0;
    if (!since) {
        return;
    }
    for (i = 0; i < refresh->count; i++) {
        task_t *task = &refresh->tasks[i];

        if (task->cert && task->failing_since && !task->round
            && is_named(task->cert, url)) {
            staple_refresh_set_due(task, now);
        }
    }
    staple_refresh_log_answers_again(refresh->conf.server, url, now - since);
}

/* ----- what is told of a responder ----- */

int staple_refresh_count_named(const staple_refresh_t *refresh,
                               const char *url)
{
    int count = 0;
    apr_size_t i;

    for (i = 0; i < refresh->count; i++) {
        const task_t *task = &refresh->tasks[i];

        count += task->cert && is_named(task->cert, url);
    }
    return count;
}

void staple_refresh_count_outage(const round_t *round,
                                 const staple_fetch_answer_t *answer,
                                 const staple_cache_state_t *state,
                                 apr_time_t now)
{
    task_t *task = round->task;
    outage_t *outage;

    if (task->counted) {
        return;
    }
    outage = outage_of(task->refresh, url_of(task->cert, answer->url_index));
    task->counted = outage;
    outage->failed++;
    if (outage->failing++ == 0) {
        outage->failing_since = now;
        staple_refresh_log_outage(round, answer, state);
    }
}

void staple_refresh_count_recovery(task_t *task, apr_time_t now)
{
    outage_t *outage = task->counted;

    if (!outage) {
        return;
    }
    task->counted = NULL;
    if (--outage->failing == 0) {
        staple_refresh_log_outage_over(task->refresh->conf.server, outage,
                                       now - outage->failing_since);
        outage->failed = 0;
    }
}

/* ----- probes ----- */

static apr_size_t slot_of(const task_t *task)
{
    return (apr_size_t)(task - task->refresh->tasks);
}

/* A candidate that was never asked in vain says more than one that a responder
 * may stumble over, and each probe takes another one than the probe before: the
 * next one at or behind the outage's turn. */
static int rank_of(const task_t *task, const outage_t *outage)
{
    return (task->is_suspect ? 0 : 2) + (slot_of(task) >= outage->turn);
}

static int is_better(const task_t *task, const task_t *other,
                     const outage_t *outage)
{
    int one = rank_of(task, outage), two = rank_of(other, outage);

    return one != two ? one > two : slot_of(task) < slot_of(other);
}

static void consider(task_t *task)
{
    int k;

    if (!task->cert->subject) { /* its issuer has to be fetched first */
        return;
    }
    for (k = 0; k < task->cert->urls->nelts; k++) {
        outage_t *outage = outage_of(task->refresh, url_of(task->cert, k));

        if (outage->since
            && (!outage->candidate
                || is_better(task, outage->candidate, outage))) {
            outage->candidate = task;
        }
    }
}

/* Find for each outage the certificate that is asked about next. */
static void find_candidates(staple_refresh_t *refresh, apr_time_t now)
{
    task_t *task;

    APR_RING_FOREACH(task, &refresh->missing, task_t, missing) {
        if (now > task->cert->not_after || task->is_set_aside) {
            continue;
        }
        if (task->round && !task->round->wake
            && now - task->round->started > SLOW_ROUND) {
            note_wait(task, task->round->started, now);
        }
        consider(task);
    }
}

static void send_probe(outage_t *outage, apr_time_t now)
{
    task_t *task = outage->candidate;

    outage->candidate = NULL;
    if (!outage->since) {
        return;
    }
    if (!task) { /* whatever is failing has something to staple */
        outage->since = 0;
        return;
    }
    if (now < outage->next_probe || now < outage->not_before) {
        return;
    }
    outage->turn = slot_of(task) + 1;
    outage->next_probe = now + staple_rules_probe_interval(now
                                                           - outage->since);
    staple_refresh_begin_probe(task, outage, now);
}

static void shift_outage(outage_t *outage, apr_interval_time_t jump)
{
    staple_refresh_shift(&outage->answered_at, jump);
    staple_refresh_shift(&outage->since, jump);
    staple_refresh_shift(&outage->next_probe, jump);
    staple_refresh_shift(&outage->not_before, jump);
    staple_refresh_shift(&outage->failing_since, jump);
}

void staple_refresh_shift_outages(staple_refresh_t *refresh,
                                  apr_interval_time_t jump)
{
    apr_hash_index_t *hi;

    for (hi = apr_hash_first(NULL, refresh->outages); hi;
         hi = apr_hash_next(hi)) {
        shift_outage(apr_hash_this_val(hi), jump);
    }
}

void staple_refresh_send_probes(staple_refresh_t *refresh, apr_time_t now)
{
    apr_hash_index_t *hi;

    if (now < refresh->probes_due && refresh->probes_due <= now + TICK) {
        return;
    }
    refresh->probes_due = now + TICK;
    find_candidates(refresh, now);
    for (hi = apr_hash_first(NULL, refresh->outages); hi;
         hi = apr_hash_next(hi)) {
        send_probe(apr_hash_this_val(hi), now);
    }
}

void staple_refresh_note_probe_failure(outage_t *outage,
                                       const staple_fetch_answer_t *answer,
                                       apr_time_t now)
{
    wait_as_told(outage, answer, now);
}
