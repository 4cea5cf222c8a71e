/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * A round: one attempt to renew the response of one certificate. It starts
 * when the certificate is due and always ends in exactly one place,
 * finish_round(), whatever happened in between:
 *
 *   look    has another server of the fleet shared a better response?
 *   claim   no: is another server asking already?
 *   wait    yes: look again in a moment, for as long as an exchange may take
 *   ask     no, or no answer: ask the responders
 *
 * Without a share a round begins with ask. What is kept of an answer lives in a
 * pool of the round's own, which is made when one comes.
 */

#include "refresh_int.h"

#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

/* What the share gets to answer a look or a claim, and how long a round waits
 * before it looks again for what another server is asking for. */
#define SHARE_PATIENCE apr_time_from_msec(300)
#define SHARE_PAUSE apr_time_from_msec(100)

/* A refusal may be meant for the CertID's hash. In a streak of failures the
 * other one is tried the first time, and then every so many. */
#define OTHER_HASH_EVERY 8

/* What a probe gets, whatever SSLStaplingResponderTimeout says. */
#define PROBE_TIMEOUT SECONDS(2)

/* So many failures in a row have the longest pause after them. */
#define FAILING_LONG 32

/* Between requests for what the ring has no room for. */
#define NO_ROOM_PAUSE SECONDS(3600)

/* So many probes in a row are left to other servers; then one is sent whatever
 * the share says, because whoever can write to it could claim them for ever. */
#define CLAIMED_MAX 4

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

static apr_pool_t *pool_of(round_t *round)
{
    if (!round->pool) {
        apr_pool_create(&round->pool, round->task->refresh->pool);
        apr_pool_tag(round->pool, "staple_round");
    }
    return round->pool;
}

/* ----- the end of a round ----- */

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
static const char *first_url(const task_t *task)
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
        apr_hash_set(task->refresh->other_hash, first_url(task),
                     APR_HASH_KEY_STRING,
                     round->hash == STAPLE_OCSP_SHA1 ? NULL : task->refresh);
    }
}

/* The responder gives out what grows too old: told once for each responder. */
static void note_overdue(const round_t *round,
                         const staple_fetch_answer_t *answer, apr_time_t now)
{
    apr_hash_t *told = round->task->refresh->overdue;
    const char *url = first_url(round->task);

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
static int is_outage(const round_t *round, const staple_fetch_answer_t *answer)
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
    int is_down = is_outage(round, answer);

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
    apr_interval_time_t asked = answer->retry_after > round->retry_after
                                ? answer->retry_after : round->retry_after;
    apr_interval_time_t pause;

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

static void conclude(round_t *round, const staple_fetch_answer_t *answer)
{
    task_t *task = round->task;
    staple_cache_t *cache = task->refresh->conf.cache;
    apr_time_t now = apr_time_now();
    staple_cache_state_t state;

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
    if (answer->is_asked && !round->is_shared && has_answered(answer)
        && !is_outage(round, answer)) {
        staple_refresh_note_answer(task->refresh,
                                   APR_ARRAY_IDX(task->cert->urls,
                                                 answer->url_index,
                                                 const char *), now);
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
static void settle_probe(round_t *round, const staple_fetch_answer_t *answer)
{
    task_t *task = round->task;
    staple_cache_t *cache = task->refresh->conf.cache;
    apr_time_t now = apr_time_now();
    staple_fetch_answer_t own = *answer;
    staple_cache_state_t state;

    if (is_outage(round, answer)) {
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

/* The round is gone; its task may begin another one. */
static void end_round(round_t *round)
{
    if (!round->probed) {
        round->task->round = NULL;
        staple_refresh_replan(round->task);
    }
    if (round->pool) {
        apr_pool_destroy(round->pool);
    }
    free(round);
}

void staple_refresh_drop_round(const round_t *round)
{
    staple_cache_t *cache = round->task->refresh->conf.cache;
    staple_cache_state_t state;

    staple_cache_state(cache, round->task->cert->slot, &state);
    if (state.begun_at) {
        state.begun_at = 0;
        staple_cache_set_state(cache, round->task->cert->slot, &state);
    }
}

/* The one place where a round ends; one that is stopped leaves no trace. */
static void finish_round(round_t *round, const staple_fetch_answer_t *answer)
{
    if (answer->outcome == STAPLE_FETCH_STOPPED) {
        if (!round->probed) {
            staple_refresh_drop_round(round);
        }
        end_round(round);
        return;
    }
    (void)pool_of(round); /* what is logged is put together there */
    if (round->probed) {
        settle_probe(round, answer);
    }
    else {
        conclude(round, answer);
    }
    end_round(round);
}

/* The same for a round that a share could answer. */
static void finish_shared(round_t *round, const staple_share_answer_t *shared)
{
    staple_fetch_answer_t answer;

    memset(&answer, 0, sizeof(answer));
    answer.outcome = STAPLE_FETCH_OK;
    answer.url = "the share";
    answer.url_index = round->task->first_url;
    answer.peer = "";
    answer.reason = "";
    answer.is_asked = 1;
    answer.body = shared->der;
    answer.body_len = shared->der_len;
    answer.retry_after = -1;
    answer.fresh_for = -1;
    round->is_shared = 1;
    finish_round(round, &answer);
}

/* ----- a round ----- */

/* What may be stapled where nothing better comes: "unknown" as it was signed,
 * or the status of an error. */
static void note_error(round_t *round, const staple_fetch_answer_t *answer)
{
    const unsigned char *error;
    apr_size_t len;

    if (round->verdict.reason == STAPLE_OCSP_OK) {
        round->error = apr_pmemdup(pool_of(round), answer->body,
                                   answer->body_len);
        round->error_len = answer->body_len;
        return;
    }
    error = staple_ocsp_error(round->verdict.reason, &len);
    if (error) {
        round->error = error;
        round->error_len = len;
    }
}

static staple_fetch_judgement_e judge_body(void *baton,
                                           const staple_fetch_answer_t *answer)
{
    round_t *round = STAPLE_CAST(round_t, ROUND_MAGIC, baton);
    staple_ocsp_verdict_t *verdict = &round->verdict;

    round->is_judged = 1;
    if (staple_refresh_is_believed(round->task->refresh, 0, round->task->cert,
                                   answer->body, answer->body_len, verdict)) {
        return STAPLE_FETCH_ACCEPTED;
    }
    if (!round->is_second_hash || verdict->reason == STAPLE_OCSP_OK) {
        note_error(round, answer);
    }
    return staple_rules_judgement(verdict->reason);
}

static void note_reading(void *baton, int is_reading)
{
    const round_t *round = STAPLE_CAST(const round_t, ROUND_MAGIC, baton);
    const task_t *task = round->task;
    const staple_refresh_conf_t *conf = &task->refresh->conf;

    conf->mark(conf->baton, 0, is_reading ? task->cert->slot : -1);
}

static apr_status_t ask(round_t *round);

static staple_ocsp_hash_e other_hash(staple_ocsp_hash_e hash)
{
    return hash == STAPLE_OCSP_SHA1 ? STAPLE_OCSP_SHA256 : STAPLE_OCSP_SHA1;
}

/* The hash to begin with: as configured, or what the responder is known to
 * answer. */
static staple_ocsp_hash_e first_hash(const task_t *task)
{
    switch (task->cert->policy->hash) {
    case STAPLE_CERT_HASH_SHA1:
        return STAPLE_OCSP_SHA1;
    case STAPLE_CERT_HASH_SHA256:
        return STAPLE_OCSP_SHA256;
    default:
        return apr_hash_get(task->refresh->other_hash, first_url(task),
                            APR_HASH_KEY_STRING)
               ? STAPLE_OCSP_SHA256 : STAPLE_OCSP_SHA1;
    }
}

/* Some responders answer one kind of CertID only. When the usual one meets a
 * refusal, the same round asks once with the other. */
static int wants_other_hash(const round_t *round,
                            const staple_fetch_answer_t *answer)
{
    staple_cache_state_t state;

    if (answer->outcome != STAPLE_FETCH_REJECTED || !round->is_judged
        || round->is_second_hash
        || round->task->cert->policy->hash != STAPLE_CERT_HASH_AUTO
        || (round->verdict.reason != STAPLE_OCSP_UNAUTHORIZED
            && round->verdict.reason != STAPLE_OCSP_MALFORMED_REQUEST)) {
        return 0;
    }
    staple_cache_state(round->task->refresh->conf.cache,
                       round->task->cert->slot, &state);
    return state.failing % OTHER_HASH_EVERY == 0;
}

/* Whether the other hash has brought more than another refusal, which may be
 * meant for that hash: something that was signed. */
static int is_understood(const round_t *round,
                         const staple_fetch_answer_t *answer)
{
    staple_ocsp_reason_e reason = round->verdict.reason;
    apr_size_t len;

    return answer->outcome == STAPLE_FETCH_OK
           || answer->outcome == STAPLE_FETCH_STOPPED
           || (answer->outcome == STAPLE_FETCH_REJECTED
               && !staple_ocsp_error(reason, &len)
               && reason != STAPLE_OCSP_NOT_DER
               && reason != STAPLE_OCSP_TRAILING);
}

/* The round ends with what the usual hash has met. */
static void finish_as_at_first(round_t *round,
                               const staple_fetch_answer_t *answer)
{
    staple_fetch_answer_t own = *answer;

    own.outcome = STAPLE_FETCH_REJECTED;
    own.http_status = 200;
    own.reason = "the answer was not accepted";
    round->verdict = round->first;
    finish_round(round, &own);
}

static void on_done(void *baton, const staple_fetch_answer_t *answer)
{
    round_t *round = STAPLE_CAST(round_t, ROUND_MAGIC, baton);

    if (wants_other_hash(round, answer)) {
        round->hash = other_hash(round->hash);
        round->is_second_hash = 1;
        round->first = round->verdict;
        if (ask(round) == APR_SUCCESS) {
            return;
        }
    }
    if (round->is_second_hash && !is_understood(round, answer)) {
        finish_as_at_first(round, answer);
        return;
    }
    finish_round(round, answer);
}

/* One URL has failed and another is asked now: what the first one says of
 * itself is not to be lost. */
static void on_passed(void *baton, const staple_fetch_answer_t *answer)
{
    round_t *round = STAPLE_CAST(round_t, ROUND_MAGIC, baton);

    if (!is_outage(round, answer)) {
        return;
    }
    round->has_met_outage = 1;
    staple_refresh_note_pause(round->task, answer, apr_time_now());
    if (answer->retry_after > round->retry_after) {
        round->retry_after = answer->retry_after;
    }
}

/* All of the certificate's responders, or the one that is probed. */
static void choose_responders(round_t *round, staple_fetch_job_t *job)
{
    const staple_cert_t *cert = round->task->cert;

    job->urls = (const char *const *)cert->urls->elts;
    job->urls_count = cert->urls->nelts;
    job->first_url = round->task->first_url;
    job->timeout = cert->policy->timeout;
    if (round->probed) {
        job->urls = &round->probed->url;
        job->urls_count = 1;
        job->first_url = 0;
        job->is_probe = 1;
        if (job->timeout > PROBE_TIMEOUT) {
            job->timeout = PROBE_TIMEOUT;
        }
    }
}

/* Known before it is made: whoever goes on after the end of this process
 * counts it. */
static void note_beginning(const task_t *task)
{
    staple_cache_t *cache = task->refresh->conf.cache;
    staple_cache_state_t state;

    staple_cache_state(cache, task->cert->slot, &state);
    state.begun_at = apr_time_now();
    staple_words_note_url(&state, task->first_url, first_url(task));
    staple_cache_set_state(cache, task->cert->slot, &state);
}

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

static apr_status_t ask(round_t *round)
{
    task_t *task = round->task;
    const staple_cert_t *cert = task->cert;
    apr_pool_t *scratch = task->refresh->scratch;
    staple_fetch_job_t job;
    apr_status_t rv;

    if (round->probed) {
        round->probed->claimed = 0;
    }
    else {
        note_beginning(task);
    }
    memset(&job, 0, sizeof(job));
    rv = staple_ocsp_request(cert->subject, round->hash, &job.request,
                             &job.request_len, scratch);
    if (rv) {
        return rv;
    }
    choose_responders(round, &job);
    job.proxy = cert->policy->proxy;
    job.proxy_credentials = cert->policy->proxy_credentials;
    job.judge = judge_body;
    job.done = on_done;
    job.passed = on_passed;
    job.reading = note_reading;
    job.baton = round;
    job.is_suspect = task->is_suspect;
    if (!round->is_second_hash && !round->probed) {
        job.if_none_match = task->etag;
        job.if_modified_since = task->last_modified;
    }
    rv = staple_fetch_submit(task->refresh->fetch, &job);
    apr_pool_clear(scratch); /* the job has a copy */
    return rv;
}

/* No round can be sent off: try again when failures usually do. */
static void put_off(task_t *task, apr_status_t rv)
{
    staple_refresh_log_no_request(task->refresh->conf.server, task->cert, rv);
    staple_refresh_set_due(task, apr_time_now()
                                 + task->cert->policy->retry_cap
                                 + SECONDS(1));
}

static void give_up(round_t *round, apr_status_t rv)
{
    if (!round->probed) {
        staple_refresh_drop_round(round); /* it did not begin */
        put_off(round->task, rv);
    }
    end_round(round);
}

static void ask_or_give_up(round_t *round)
{
    apr_status_t rv = ask(round);

    if (rv) {
        give_up(round, rv);
    }
}

/* ----- what a fleet shares ----- */

/* Whether another server's claim of a probe is respected: one probe will do for
 * all servers. */
static int is_left_to_others(outage_t *probed)
{
    if (probed->claimed >= CLAIMED_MAX) {
        return 0;
    }
    probed->claimed++;
    return 1;
}

static void on_claimed(void *baton, const staple_share_answer_t *answer)
{
    round_t *round = STAPLE_CAST(round_t, ROUND_MAGIC, baton);

    int is_taken = answer->outcome == STAPLE_SHARE_TAKEN;

    if (is_taken && round->probed && is_left_to_others(round->probed)) {
        end_round(round);
    }
    else if (is_taken && !round->probed) {
        round->wake = apr_time_now() + SHARE_PAUSE;
        staple_refresh_replan(round->task);
    }
    else {
        ask_or_give_up(round);
    }
}

/* Nothing in the share: ask, unless another server is at it. */
static void claim(round_t *round)
{
    const staple_cert_t *cert = round->task->cert;
    apr_interval_time_t span = cert->policy->timeout + SECONDS(1);

    if (round->probed) {
        span = staple_rules_probe_interval(apr_time_now()
                                           - round->probed->since);
    }
    if (staple_share_claim(round->task->refresh->conf.share, cert->id, span,
                           SHARE_PATIENCE, on_claimed, round)) {
        ask_or_give_up(round);
    }
}

static int is_answer_wanted(round_t *round,
                            const staple_share_answer_t *answer)
{
    const staple_cert_t *cert = round->task->cert;
    believed_t response = { &round->verdict, answer->der, answer->der_len };
    apr_time_t now = apr_time_now();
    held_t held;

    if (answer->outcome != STAPLE_SHARE_FOUND
        || !staple_refresh_is_believed(round->task->refresh, 0, cert,
                                       answer->der, answer->der_len,
                                       &round->verdict)) {
        return 0;
    }
    held = staple_refresh_read_held(round->task->refresh, cert, now);
    return staple_refresh_is_improvement(cert, &held, &response, now);
}

static void on_shared(void *baton, const staple_share_answer_t *answer)
{
    round_t *round = STAPLE_CAST(round_t, ROUND_MAGIC, baton);

    if (is_answer_wanted(round, answer)) {
        finish_shared(round, answer);
    }
    else if (answer->outcome == STAPLE_SHARE_NO_ANSWER
             || apr_time_now() >= round->wait_until) {
        ask_or_give_up(round);
    }
    else {
        claim(round);
    }
}

/* Every round begins here, and every wait ends here. */
void staple_refresh_ask_share(round_t *round)
{
    staple_share_t *share = round->task->refresh->conf.share;

    round->wake = 0;
    if (!share || staple_share_get(share, round->task->cert->id,
                                   SHARE_PATIENCE, on_shared, round)) {
        ask_or_give_up(round);
    }
}

/* NULL: no memory. */
static round_t *make_round(task_t *task, apr_time_t now)
{
    round_t *round = calloc(1, sizeof(*round));

    if (!round) {
        return NULL;
    }
    round->magic = ROUND_MAGIC;
    round->task = task;
    round->hash = first_hash(task);
    round->retry_after = -1;
    round->started = now;
    round->wait_until = now + task->cert->policy->timeout;
    return round;
}

void staple_refresh_shift_round(round_t *round, apr_interval_time_t jump)
{
    staple_refresh_shift(&round->started, jump);
    staple_refresh_shift(&round->wake, jump);
    staple_refresh_shift(&round->wait_until, jump);
}

void staple_refresh_begin_round(task_t *task, apr_time_t now)
{
    task->round = make_round(task, now);
    if (!task->round) {
        put_off(task, APR_ENOMEM);
        return;
    }
    staple_refresh_replan(task);
    staple_refresh_ask_share(task->round);
}

void staple_refresh_begin_probe(task_t *task, outage_t *probed,
                                apr_time_t now)
{
    round_t *round = make_round(task, now);

    if (round) { /* else the next probe comes soon */
        round->probed = probed;
        staple_refresh_ask_share(round);
    }
}
