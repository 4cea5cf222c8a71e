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
 * pool of the round's own, which is made when one comes. What the answer means
 * for the certificate and its responder is refresh/outcome.c.
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

/* So many probes in a row are left to other servers; then one is sent whatever
 * the share says, because whoever can write to it could claim them for ever. */
#define CLAIMED_MAX 4

static apr_pool_t *pool_of(round_t *round)
{
    if (!round->pool) {
        apr_pool_create(&round->pool, round->task->refresh->pool);
        apr_pool_tag(round->pool, "staple_round");
    }
    return round->pool;
}

/* ----- the end of a round ----- */

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
        staple_refresh_settle_probe(round, answer);
    }
    else {
        staple_refresh_conclude(round, answer);
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
        return apr_hash_get(task->refresh->other_hash,
                            staple_refresh_first_url(task),
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

    if (!staple_refresh_is_outage(round, answer)) {
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
    staple_words_note_url(&state, task->first_url,
                          staple_refresh_first_url(task));
    staple_cache_set_state(cache, task->cert->slot, &state);
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
