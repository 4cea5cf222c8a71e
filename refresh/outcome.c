/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What comes of a round, once its answer is there: what is stored, noted,
 * logged and given to the share, when the next question is due, and what it
 * says of the responder. How a round gets its answer is refresh/round.c.
 *
 * The one idea: a round ends in staple_refresh_conclude(), a probe in
 * staple_refresh_settle_probe(), and both leave the ring, the plan and the log
 * saying the same.
 */

#include "refresh_int.h"

#include <stdlib.h>
#include <string.h>

/* So many failures in a row have the longest pause after them. */
#define FAILING_LONG 32

/* Between requests for what the ring has no room for. */
#define NO_ROOM_PAUSE SECONDS(3600)

/* Longer ones are not kept. */
#define VALIDATOR_MAX 128

/* What is signed and may not be served at this moment: one that is revoked is
 * remembered, and a clock or StapleMaxAge may be set otherwise before the other
 * has ended. */
static int is_worth_keeping(const held_t *held, apr_time_t now)
{
    return held->is_there && !(held->meta.flags & STAPLE_RULES_IS_ERROR)
           && (held->meta.status == STAPLE_OCSP_REVOKED
               || now < held->meta.next_update);
}

/* The administrator wants clients to see errors where nothing valid is held:
 * the responder's own, or a tryLater in the name of one that is silent. An
 * error counts until the next attempt; where that brings none, it is gone. */
static void store_error(const round_t *round, const held_t *held,
                        apr_time_t now, apr_interval_time_t pause)
{
    const staple_cert_t *cert = round->task->cert;
    const unsigned char *der = round->error;
    apr_size_t len = round->error_len;
    staple_cache_meta_t meta;

    if (!der && cert->policy->fake_try_later) {
        der = staple_ocsp_error(STAPLE_OCSP_TRY_LATER, &len);
    }
    if (!der || !cert->policy->return_errors) {
        if (held->meta.flags & STAPLE_RULES_IS_ERROR) {
            staple_cache_forget(round->task->refresh->conf.cache, cert->slot);
        }
        return;
    }
    if (is_worth_keeping(held, now)) {
        return;
    }
    memset(&meta, 0, sizeof(meta));
    meta.this_update = now;
    meta.next_update = now + pause + cert->policy->timeout;
    meta.fetched_at = now;
    meta.status = STAPLE_OCSP_UNKNOWN;
    meta.flags = STAPLE_RULES_IS_ERROR;
    staple_refresh_store(round->task->refresh, cert, der, len, &meta);
}

/* ----- what is noted ----- */

static void note_exchange(const round_t *round,
                          const staple_fetch_answer_t *answer,
                          apr_time_t now, int is_success,
                          staple_cache_state_t *state)
{
    state->last_attempt = now;
    if (round->is_shared) {
        staple_words_note_shared(state);
    }
    else {
        staple_words_note(state, answer, &round->verdict);
    }
    if (is_success) {
        state->attempts++;
        state->last_success = now;
        state->failing = 0;
    }
    else if (answer->is_asked || !state->failing) {
        /* a responder known to be down was not bothered: no attempt of ours */
        state->attempts++;
        state->failures++;
        state->failing++;
        staple_cache_count_failure(round->task->refresh->conf.cache,
                                   staple_state_failure(state));
    }
}

/* The certificate's own string, which outlives any exchange. */
const char *staple_refresh_first_url(const task_t *task)
{
    return APR_ARRAY_IDX(task->cert->urls, task->first_url, const char *);
}

void staple_refresh_forget_validators(task_t *task)
{
    free(task->etag);
    free(task->last_modified);
    task->etag = task->last_modified = NULL;
}

/* What is endless is no use to anybody. */
static char *copy_validator(const char *text)
{
    return text && strlen(text) < VALIDATOR_MAX ? strdup(text) : NULL;
}

static void remember_validators(task_t *task,
                                const staple_fetch_answer_t *answer)
{
    staple_refresh_forget_validators(task);
    task->etag = copy_validator(answer->etag);
    task->last_modified = copy_validator(answer->last_modified);
}

/* What worked is what is tried first next time. */
static void remember_way(const round_t *round,
                         const staple_fetch_answer_t *answer)
{
    task_t *task = round->task;

    if (round->is_shared) {
        return;
    }
    task->first_url = answer->url_index;
    remember_validators(task, answer);
    if (task->cert->policy->hash == STAPLE_CERT_HASH_AUTO) {
        apr_hash_set(task->refresh->other_hash, staple_refresh_first_url(task),
                     APR_HASH_KEY_STRING,
                     round->hash == STAPLE_OCSP_SHA1 ? NULL : task->refresh);
    }
}

/* The responder gives out what grows too old: told once for each responder. */
static void note_overdue(const round_t *round,
                         const staple_fetch_answer_t *answer, apr_time_t now)
{
    apr_hash_t *told = round->task->refresh->overdue;
    const char *url = staple_refresh_first_url(round->task);

    if (!apr_hash_get(told, url, APR_HASH_KEY_STRING)) {
        apr_hash_set(told, url, APR_HASH_KEY_STRING, url);
        staple_refresh_log_overdue(round->task->refresh->conf.server, round,
                                   answer, now);
    }
}

/* By the times of what came, and by those of what is held now, which may be
 * another: one that is newer stays, and may end sooner. */
static apr_time_t due_after(const round_t *round,
                            const staple_fetch_answer_t *answer,
                            const held_t *held, apr_time_t now)
{
    const staple_cert_t *cert = round->task->cert;
    staple_cache_meta_t came = staple_rules_meta(&round->verdict, now);
    staple_cache_meta_t stays = held->meta;
    apr_time_t due, due_by_held;

    if (!staple_refresh_is_valid(held)) {
        return staple_rules_due(cert->policy, cert->id, &came,
                                answer->fresh_for);
    }
    came.status = stays.status;
    stays.fetched_at = now;
    due = staple_rules_due(cert->policy, cert->id, &came, answer->fresh_for);
    due_by_held = staple_rules_due(cert->policy, cert->id, &stays, -1);
    return due < due_by_held ? due : due_by_held;
}

/* When to ask next, and for what. What the ring had no room for is asked for
 * again, whole, once an hour: seldom is room made without a restart. */
static void plan_after(const round_t *round,
                       const staple_fetch_answer_t *answer,
                       store_e stored, const held_t *held, apr_time_t now)
{
    task_t *task = round->task;
    staple_cert_policy_t policy = *task->cert->policy;

    if (stored != STORE_NO_ROOM) {
        staple_refresh_set_due(task, due_after(round, answer, held, now));
        return;
    }
    staple_refresh_forget_validators(task);
    policy.retry_cap = NO_ROOM_PAUSE;
    staple_refresh_set_due(task, now + staple_rules_backoff(
                                           &policy, task->cert->id,
                                           FAILING_LONG, 0,
                                           answer->retry_after));
}

/* The better one: what came, or what is held and stays, which was just read. */
static void give_to_share(const round_t *round,
                          const staple_fetch_answer_t *answer, store_e stored,
                          const held_t *held, apr_time_t now)
{
    const staple_refresh_t *refresh = round->task->refresh;
    const unsigned char *id = round->task->cert->id;

    if (!refresh->conf.share || round->is_shared || !held->until) {
        return;
    }
    if (stored != STORE_UNWANTED) {
        staple_share_put(refresh->conf.share, id, answer->body,
                         answer->body_len, now, held->until);
    }
    else if (staple_refresh_is_valid(held)) {
        staple_share_put(refresh->conf.share, id, refresh->buf, held->len,
                         held->meta.fetched_at, held->until);
    }
}

static void succeed(round_t *round, const staple_fetch_answer_t *answer,
                    staple_cache_state_t *state, apr_time_t now)
{
    task_t *task = round->task;
    staple_refresh_t *refresh = task->refresh;
    const staple_cert_t *cert = task->cert;
    held_t held = staple_refresh_read_held(refresh, cert, now);
    int was_failing = state->failing > 0 || task->alarm != ALARM_NONE;
    int was_revoked = staple_refresh_is_revocation(&held);
    believed_t response = { &round->verdict, answer->body, answer->body_len };
    store_e stored = staple_refresh_store_wanted(refresh, cert, &held,
                                                 &response, round->pool);
    int is_new = stored == STORE_DONE && !was_revoked; /* of that was told */

    remember_way(round, answer);
    note_exchange(round, answer, now, 1, state);
    held = staple_refresh_read_held(refresh, cert, now);
    give_to_share(round, answer, stored, &held, now);
    plan_after(round, answer, stored, &held, now);
    if (stored != STORE_NO_ROOM) { /* of that was told */
        staple_refresh_log_success(refresh->conf.server, round, answer,
                                   held.until, was_failing, is_new);
    }
    task->alarm = ALARM_NONE;
    staple_refresh_count_recovery(task, now);
    staple_refresh_set_missing(task, !staple_refresh_is_valid(&held));
    task->failing_since = 0;
    if (staple_rules_is_overdue(cert->policy, &round->verdict, now)) {
        note_overdue(round, answer, now);
    }
}

/* 304: what is held is what there is. It prolongs nothing. */
static void confirm_held(round_t *round, const staple_fetch_answer_t *answer,
                         staple_cache_state_t *state, apr_time_t now)
{
    task_t *task = round->task;
    const staple_cert_t *cert = task->cert;
    held_t held = staple_refresh_read_held(task->refresh, cert, now);

    round->verdict.status = (staple_ocsp_status_e)held.meta.status;
    note_exchange(round, answer, now, 1, state);
    held.meta.fetched_at = now;
    staple_refresh_set_due(task, staple_rules_due(cert->policy, cert->id,
                                                  &held.meta,
                                                  answer->fresh_for));
    staple_refresh_log_success(task->refresh->conf.server, round, answer,
                               held.until, task->alarm != ALARM_NONE, 0);
    task->alarm = ALARM_NONE;
    staple_refresh_count_recovery(task, now);
    task->failing_since = 0;
}

/* Whether a failure says that the responder, rather than the certificate, is
 * the matter: no answer, an error of the server or of who stands before it, or
 * one that the responder says will pass. */
int staple_refresh_is_outage(const round_t *round,
                             const staple_fetch_answer_t *answer)
{
    staple_ocsp_reason_e reason = round->verdict.reason;

    switch (answer->outcome) {
    case STAPLE_FETCH_NO_NAME:
    case STAPLE_FETCH_REFUSED:
    case STAPLE_FETCH_UNREACHABLE:
    case STAPLE_FETCH_CONNECT_TIMEOUT:
    case STAPLE_FETCH_TIMEOUT:
    case STAPLE_FETCH_RESET:
    case STAPLE_FETCH_NOT_HTTP:
    case STAPLE_FETCH_TRUNCATED:
    case STAPLE_FETCH_SYSTEM:
        return 1;
    case STAPLE_FETCH_HTTP_STATUS:
        return answer->http_status >= 500 || answer->http_status == 429;
    case STAPLE_FETCH_REJECTED:
        return round->is_judged
               && (reason == STAPLE_OCSP_TRY_LATER
                   || reason == STAPLE_OCSP_INTERNAL_ERROR
                   || reason == STAPLE_OCSP_NOT_DER);
    default:
        return 0;
    }
}

/* Whether the responder had something to say, if only that it will not. */
static int has_answered(const staple_fetch_answer_t *answer)
{
    switch (answer->outcome) {
    case STAPLE_FETCH_OK:
    case STAPLE_FETCH_NOT_MODIFIED:
    case STAPLE_FETCH_REJECTED:
    case STAPLE_FETCH_HTTP_STATUS:
    case STAPLE_FETCH_TOO_LARGE:
    case STAPLE_FETCH_BAD_REDIRECT:
        return 1;
    default:
        return 0;
    }
}

/* The responder has answered; if it was down, that is over for this task. What
 * it says is a matter of this certificate alone, and is to be told. */
static void leave_outage(task_t *task, const staple_fetch_answer_t *answer,
                         apr_time_t now)
{
    const char *url = APR_ARRAY_IDX(task->cert->urls, answer->url_index,
                                    const char *);

    if (!task->counted || strcmp(task->counted->url, url)) {
        return;
    }
    if (task->alarm == ALARM_FAILING) {
        task->alarm = ALARM_NONE;
    }
    staple_refresh_count_recovery(task, now);
}

/* What a failure says of the responders. */
static void note_failure(round_t *round, const staple_fetch_answer_t *answer,
                         const staple_cache_state_t *state, apr_time_t now)
{
    task_t *task = round->task;
    int is_down = staple_refresh_is_outage(round, answer);

    if (is_down) {
        staple_refresh_note_pause(task, answer, now);
        staple_refresh_count_outage(round, answer, state, now);
    }
    else if (has_answered(answer)) {
        leave_outage(task, answer, now);
    }
    if (is_down || round->has_met_outage) {
        staple_refresh_note_outage(task, answer, now);
    }
    else if (has_answered(answer)) {
        task->failing_since = 0;
    }
}

static void fail(round_t *round, const staple_fetch_answer_t *answer,
                 staple_cache_state_t *state, apr_time_t now)
{
    task_t *task = round->task;
    const staple_cert_t *cert = task->cert;
    held_t held = staple_refresh_read_held(task->refresh, cert, now);
    int is_held = staple_refresh_is_valid(&held);
    alarm_e alarm = staple_refresh_alarm_of(cert, &held, now);
    apr_interval_time_t asked = answer->retry_after, pause;

    if (is_held && round->retry_after > asked) { /* there is time */
        asked = round->retry_after;
    }

    note_exchange(round, answer, now, 0, state);
    pause = staple_rules_backoff(cert->policy, cert->id, state->failing,
                                 is_held ? held.until - now : 0, asked);
    staple_refresh_set_due(task, now + pause);
    staple_refresh_set_missing(task, !is_held);
    if (!is_held) {
        store_error(round, &held, now, pause);
    }
    note_failure(round, answer, state, now);
    staple_refresh_log_failure(task->refresh->conf.server, round, &held,
                               answer, pause, alarm);
    if (alarm > task->alarm) {
        task->alarm = alarm;
    }
}

/* What is held may have gone while its 304 was on the way. */
static int is_confirmed(const round_t *round,
                        const staple_fetch_answer_t *answer, apr_time_t now)
{
    held_t held;

    if (answer->outcome != STAPLE_FETCH_NOT_MODIFIED) {
        return 0;
    }
    held = staple_refresh_read_held(round->task->refresh, round->task->cert,
                                    now);
    return staple_refresh_is_valid(&held);
}

static void note_answer(const round_t *round,
                        const staple_fetch_answer_t *answer, apr_time_t now)
{
    const staple_cert_t *cert = round->task->cert;

    if (answer->is_asked && !round->is_shared && has_answered(answer)
        && !staple_refresh_is_outage(round, answer)) {
        staple_refresh_note_answer(round->task->refresh,
                                   APR_ARRAY_IDX(cert->urls, answer->url_index,
                                                 const char *), now);
    }
}

void staple_refresh_conclude(round_t *round,
                             const staple_fetch_answer_t *answer)
{
    task_t *task = round->task;
    staple_cache_t *cache = task->refresh->conf.cache;
    apr_time_t now = apr_time_now();
    staple_cache_state_t state;

    note_answer(round, answer, now); /* so it is not taken for down */
    staple_cache_state(cache, task->cert->slot, &state);
    round->noted = &state;
    if (answer->outcome == STAPLE_FETCH_OK) {
        succeed(round, answer, &state, now);
    }
    else if (is_confirmed(round, answer, now)) {
        confirm_held(round, answer, &state, now);
    }
    else {
        staple_refresh_forget_validators(task);
        fail(round, answer, &state, now);
    }
    if (answer->is_asked) {
        task->is_suspect = !has_answered(answer);
    }
    state.begun_at = 0;
    state.next_due = task->due;
    staple_refresh_note_since(task->refresh, task->cert, &state, now);
    staple_cache_set_state(cache, task->cert->slot, &state);
    round->noted = NULL;
}

/* Which of the certificate's responders that is. */
static int index_of(const staple_cert_t *cert, const char *url)
{
    int i = cert->urls->nelts - 1;

    while (i > 0 && strcmp(APR_ARRAY_IDX(cert->urls, i, const char *), url)) {
        i--;
    }
    return i;
}

/* A probe is no attempt of its certificate, unless it brings a response. The
 * URL that it asked is the only one of its job, but not of its certificate. */
void staple_refresh_settle_probe(round_t *round,
                                 const staple_fetch_answer_t *answer)
{
    task_t *task = round->task;
    staple_cache_t *cache = task->refresh->conf.cache;
    apr_time_t now = apr_time_now();
    staple_fetch_answer_t own = *answer;
    staple_cache_state_t state;

    if (staple_refresh_is_outage(round, answer)) {
        staple_refresh_note_probe_failure(round->probed, answer, now);
        staple_refresh_log_probe(task->refresh->conf.server, round, answer);
        return;
    }
    if (answer->outcome == STAPLE_FETCH_OK) {
        own.url_index = index_of(task->cert, round->probed->url);
        staple_cache_state(cache, task->cert->slot, &state);
        round->noted = &state;
        succeed(round, &own, &state, now);
        state.next_due = task->due;
        staple_refresh_note_since(task->refresh, task->cert, &state, now);
        staple_cache_set_state(cache, task->cert->slot, &state);
        round->noted = NULL;
    }
    if (round->is_shared) { /* that says nothing of the responder */
        round->probed->next_probe = now;
    }
    else if (has_answered(answer)) {
        staple_refresh_note_answer(task->refresh, round->probed->url, now);
    }
}

/* ----- of a process that has ended ----- */

void staple_refresh_settle_interrupted(task_t *task,
                                       staple_cache_state_t *state)
{
    const staple_cert_t *cert = task->cert;
    apr_time_t now = apr_time_now();
    held_t held = staple_refresh_read_held(task->refresh, cert, now);
    int is_held = staple_refresh_is_valid(&held);

    if (cert->urls->nelts) {
        task->first_url = (state->url_index + 1) % cert->urls->nelts;
    }
    state->last_attempt = state->begun_at;
    state->begun_at = 0;
    state->outcome = STAPLE_FETCH_STOPPED;
    state->attempts++;
    state->failures++;
    state->failing++;
    state->next_due = now + staple_rules_backoff(cert->policy, cert->id,
                                                 state->failing,
                                                 is_held ? held.until - now : 0,
                                                 -1);
    staple_cache_count_failure(task->refresh->conf.cache,
                               staple_state_failure(state));
    staple_refresh_note_since(task->refresh, cert, state, now);
    staple_cache_set_state(task->refresh->conf.cache, cert->slot, state);
}
