/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The refresh: the one who decides. It looks which certificates are due, has
 * their responders asked, has the answers judged, and stores, keeps or backs
 * off accordingly. What changes for an administrator is told once
 * (staple_refresh_log.c); when and how long are rules, not code of this file
 * (staple_refresh_schedule.c).
 *
 * The one idea: a certificate is a small task with a due time. A round (one
 * attempt to renew one response) starts when the task is due and always ends
 * in exactly one place, finish(), whatever happened in between:
 *
 *   look    has another server of the fleet shared a better response?
 *   claim   no: is another server asking already?
 *   wait    yes: look again in a moment, for as long as an exchange may take
 *   ask     no, or no answer: ask the responders
 *
 * Without a share a round begins with ask. Responses out of files need no
 * round: they are taken over when the file changes.
 *
 * A round has a pool of its own. The tasks live from staple_refresh_lead to
 * staple_refresh_resign. Nothing here blocks: the fetch engine is given a
 * slice of time, and the ring's lock is held for a few copies.
 */

#include "staple_refresh_int.h"

#include <time.h>

#include <apr_hash.h>
#include <apr_strings.h>
#include <apr_thread_mutex.h>

/* How often an expired certificate is looked at again. */
#define EXPIRED_PAUSE SECONDS(86400)

/* How often the files of StapleResponseFile are looked at, and the least time
 * between two reminders of one that nears its end. */
#define FILE_PAUSE SECONDS(1)
#define REMINDER_PAUSE SECONDS(60)

/* What the share gets to answer a look or a claim, and how long a round waits
 * before it looks again for what another server is asking for. */
#define SHARE_PATIENCE apr_time_from_msec(300)
#define SHARE_PAUSE apr_time_from_msec(100)

/* A step looks at due times this often; while the share owes answers, the
 * responders are waited for in the smaller bits. */
#define SLICE apr_time_from_msec(100)
#define SHARE_SLICE apr_time_from_msec(10)

/* The clock was set, rather than slewed, if it moved against the monotonic
 * one by more than this between two steps. */
#define CLOCK_JUMP SECONDS(2)

/* A refusal may be meant for the CertID's hash. In a streak of failures the
 * other one is tried the first time, and then every so many. */
#define OTHER_HASH_EVERY 8

/* How long a starting child waits between looks at what others do. */
#define POLL_PAUSE 1000

struct staple_refresh_t {
    staple_refresh_conf_t conf;
    apr_pool_t *pool;           /* the child's */
    apr_thread_mutex_t *mutex;  /* guards fetch and is_stopped against
                                   staple_refresh_stop */
    int is_stopped;
    staple_fetch_t *fetch;      /* while leading, else NULL */
    int is_resigning;           /* rounds end where they are */
    apr_pool_t *lead_pool;      /* of all below */
    task_t *tasks;              /* those with a slot, by slot */
    apr_size_t count;           /* of tasks */
    apr_hash_t *other_hash;     /* URLs of responders that answer only the
                                   other hash than the usual one */
    apr_array_header_t *files;  /* response_file_t */
    apr_time_t files_due;       /* when to look at them */
    apr_time_t wall, mono;      /* the clocks at the last step */
    unsigned char *buf;         /* room for any response */
};

/* ----- what is held ----- */

/* buf is room for any response; the bytes are copied to have them checked. */
static held_t look_into(const staple_cache_t *cache,
                        const staple_cert_t *cert, apr_time_t now,
                        unsigned char buf[STAPLE_CACHE_DER_MAX])
{
    held_t held;
    apr_size_t len;

    memset(&held, 0, sizeof(held));
    held.is_there = staple_cache_read(cache, cert->slot, buf,
                                      STAPLE_CACHE_DER_MAX, &len, &held.meta)
                    == APR_SUCCESS;
    if (held.is_there
        && staple_refresh_may_serve(&cert->policy, &held.meta, now)) {
        held.until = staple_refresh_serve_until(&cert->policy, &held.meta);
    }
    return held;
}

static held_t look(staple_refresh_t *refresh, const staple_cert_t *cert,
                   apr_time_t now)
{
    return look_into(refresh->conf.cache, cert, now, refresh->buf);
}

int staple_refresh_is_valid(const held_t *held)
{
    return held->until && !(held->meta.flags & STAPLE_REFRESH_IS_ERROR);
}

int staple_refresh_is_believed(const staple_cert_t *cert,
                               const unsigned char *der, apr_size_t len,
                               staple_ocsp_verdict_t *verdict)
{
    if (staple_ocsp_judge(verdict, cert->subject, &cert->policy.times,
                          apr_time_now(), der, len) != STAPLE_OCSP_OK) {
        return 0;
    }
    if (verdict->signer_until
        && (!verdict->next_update
            || verdict->signer_until < verdict->next_update)) {
        verdict->next_update = verdict->signer_until;
    }
    return verdict->status != STAPLE_OCSP_UNKNOWN;
}

/* ----- taking a response over ----- */

static apr_status_t store(staple_refresh_t *refresh,
                          const staple_cert_t *cert, const unsigned char *der,
                          apr_size_t len, const staple_cache_meta_t *meta)
{
    apr_status_t rv = staple_cache_store(refresh->conf.cache, cert->slot, der,
                                         len, meta);

    if (rv) {
        staple_refresh_log_no_room(refresh->conf.server, cert, rv);
    }
    return rv;
}

static int is_wanted(const staple_cert_t *cert, const held_t *held,
                     const staple_ocsp_verdict_t *verdict, apr_time_t now)
{
    return !held->is_there
           || staple_refresh_is_better(&cert->policy, &held->meta, verdict,
                                       now);
}

/* Store what was obtained unless what is held is as good; returns whether it
 * was stored. */
static int take(staple_refresh_t *refresh, const staple_cert_t *cert,
                const held_t *held, const staple_ocsp_verdict_t *verdict,
                const unsigned char *der, apr_size_t len, apr_pool_t *ptemp)
{
    apr_time_t now = apr_time_now();
    staple_cache_meta_t meta;

    if (!is_wanted(cert, held, verdict, now)) {
        return 0;
    }
    memset(&meta, 0, sizeof(meta));
    meta.this_update = verdict->this_update;
    meta.next_update = verdict->next_update;
    meta.fetched_at = now;
    meta.status = (apr_uint32_t)verdict->status;
    if (store(refresh, cert, der, len, &meta)) {
        return 0;
    }
    if (verdict->status == STAPLE_OCSP_REVOKED
        && !(staple_refresh_is_valid(held)
             && held->meta.status == STAPLE_OCSP_REVOKED)) {
        staple_refresh_log_revoked(refresh->conf.server, cert, verdict, ptemp);
    }
    return 1;
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

    if (!der && cert->policy.fake_try_later) {
        der = staple_ocsp_try_later(&len);
    }
    if (!der || !cert->policy.return_errors) {
        if (held->meta.flags & STAPLE_REFRESH_IS_ERROR) {
            staple_cache_forget(round->task->refresh->conf.cache, cert->slot);
        }
        return;
    }
    memset(&meta, 0, sizeof(meta));
    meta.this_update = now;
    meta.next_update = now + pause + cert->policy.timeout;
    meta.fetched_at = now;
    meta.status = STAPLE_OCSP_UNKNOWN;
    meta.flags = STAPLE_REFRESH_IS_ERROR;
    store(round->task->refresh, cert, der, len, &meta);
}

/* ----- the end of a round ----- */

static void note_exchange(const round_t *round,
                          const staple_fetch_answer_t *answer,
                          apr_time_t now, int is_success,
                          staple_cache_state_t *state)
{
    state->last_attempt = now;
    state->outcome = (apr_uint16_t)answer->outcome;
    state->detail = answer->outcome == STAPLE_FETCH_REJECTED
                    ? staple_refresh_pack(&round->verdict)
                    : (apr_uint16_t)answer->http_status;
    apr_cpystrn(state->peer, answer->peer, sizeof(state->peer));
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
    }
}

/* The certificate's own string, which outlives any exchange. */
static const char *first_url(const task_t *task)
{
    return APR_ARRAY_IDX(task->cert->urls, task->first_url, const char *);
}

static void remember_validators(task_t *task,
                                const staple_fetch_answer_t *answer)
{
    const char *etag = answer->etag ? answer->etag : "";
    const char *date = answer->last_modified ? answer->last_modified : "";

    task->etag[0] = task->last_modified[0] = '\0';
    if (strlen(etag) < sizeof(task->etag)) {
        apr_cpystrn(task->etag, etag, sizeof(task->etag));
    }
    if (strlen(date) < sizeof(task->last_modified)) {
        apr_cpystrn(task->last_modified, date, sizeof(task->last_modified));
    }
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
    if (task->cert->policy.hash == STAPLE_CERT_HASH_AUTO) {
        apr_hash_set(task->refresh->other_hash, first_url(task),
                     APR_HASH_KEY_STRING,
                     round->hash == STAPLE_OCSP_SHA1 ? NULL : task->refresh);
    }
}

static void succeed(round_t *round, const staple_fetch_answer_t *answer,
                    staple_cache_state_t *state, apr_time_t now)
{
    task_t *task = round->task;
    staple_refresh_t *refresh = task->refresh;
    const staple_cert_t *cert = task->cert;
    held_t held = look(refresh, cert, now);
    int was_failing = state->failing > 0 || task->alarm != ALARM_NONE;

    take(refresh, cert, &held, &round->verdict, answer->body,
         answer->body_len, round->pool);
    remember_way(round, answer);
    note_exchange(round, answer, now, 1, state);
    task->due = staple_refresh_due(&cert->policy, cert->id,
                                   round->verdict.this_update,
                                   round->verdict.next_update, now,
                                   answer->fresh_for);
    held = look(refresh, cert, now);
    staple_refresh_log_success(refresh->conf.server, round, answer,
                               held.until, was_failing);
    task->alarm = ALARM_NONE;
    if (refresh->conf.share && !round->is_shared) {
        staple_share_put(refresh->conf.share, cert->id, answer->body,
                         answer->body_len, now, held.until);
    }
}

/* 304: what is held is what there is. It prolongs nothing. */
static void confirm_held(round_t *round, const staple_fetch_answer_t *answer,
                         staple_cache_state_t *state, apr_time_t now)
{
    task_t *task = round->task;
    const staple_cert_t *cert = task->cert;
    held_t held = look(task->refresh, cert, now);

    round->verdict.status = (staple_ocsp_status_e)held.meta.status;
    note_exchange(round, answer, now, 1, state);
    task->due = staple_refresh_due(&cert->policy, cert->id,
                                   held.meta.this_update,
                                   held.meta.next_update, now,
                                   answer->fresh_for);
    staple_refresh_log_success(task->refresh->conf.server, round, answer,
                               held.until, task->alarm != ALARM_NONE);
    task->alarm = ALARM_NONE;
}

static alarm_e alarm_of(const staple_cert_t *cert, const held_t *held,
                        apr_time_t now)
{
    if (!staple_refresh_is_valid(held)) {
        return cert->is_must_staple ? ALARM_REFUSED : ALARM_FAILING;
    }
    return staple_refresh_is_urgent(&cert->policy, &held->meta, now)
           ? ALARM_URGENT : ALARM_FAILING;
}

static void fail(round_t *round, const staple_fetch_answer_t *answer,
                 staple_cache_state_t *state, apr_time_t now)
{
    task_t *task = round->task;
    const staple_cert_t *cert = task->cert;
    held_t held = look(task->refresh, cert, now);
    int is_held = staple_refresh_is_valid(&held);
    alarm_e alarm = alarm_of(cert, &held, now);
    apr_interval_time_t pause;

    note_exchange(round, answer, now, 0, state);
    pause = staple_refresh_backoff(&cert->policy, cert->id, state->failing,
                                   is_held ? held.until - now : 0,
                                   answer->retry_after);
    task->due = now + pause;
    if (!is_held) {
        store_error(round, &held, now, pause);
    }
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
    held = look(round->task->refresh, round->task->cert, now);
    return staple_refresh_is_valid(&held);
}

static void settle(round_t *round, const staple_fetch_answer_t *answer)
{
    task_t *task = round->task;
    staple_cache_t *cache = task->refresh->conf.cache;
    apr_time_t now = apr_time_now();
    staple_cache_state_t state;

    staple_cache_state(cache, task->cert->slot, &state);
    if (answer->outcome == STAPLE_FETCH_OK) {
        succeed(round, answer, &state, now);
    }
    else if (is_confirmed(round, answer, now)) {
        confirm_held(round, answer, &state, now);
    }
    else {
        task->etag[0] = task->last_modified[0] = '\0';
        fail(round, answer, &state, now);
    }
    state.next_due = task->due;
    staple_cache_set_state(cache, task->cert->slot, &state);
}

/* The one place where a round ends; one that is stopped leaves no trace. */
static void finish(round_t *round, const staple_fetch_answer_t *answer)
{
    if (answer->outcome != STAPLE_FETCH_STOPPED) {
        settle(round, answer);
    }
    round->task->round = NULL;
    apr_pool_destroy(round->pool);
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
    finish(round, &answer);
}

/* ----- a round ----- */

static int is_error_status(staple_ocsp_reason_e reason)
{
    return reason >= STAPLE_OCSP_MALFORMED_REQUEST
           && reason <= STAPLE_OCSP_UNAUTHORIZED;
}

static int judge(void *baton, const staple_fetch_answer_t *answer)
{
    round_t *round = baton;
    staple_ocsp_verdict_t *verdict = &round->verdict;

    round->is_judged = 1;
    if (staple_refresh_is_believed(round->task->cert, answer->body,
                                   answer->body_len, verdict)) {
        return 1;
    }
    if (verdict->reason == STAPLE_OCSP_OK || is_error_status(verdict->reason)) {
        round->error = apr_pmemdup(round->pool, answer->body,
                                   answer->body_len);
        round->error_len = answer->body_len;
    }
    return 0;
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
    switch (task->cert->policy.hash) {
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
        || round->task->cert->policy.hash != STAPLE_CERT_HASH_AUTO
        || (round->verdict.reason != STAPLE_OCSP_UNAUTHORIZED
            && round->verdict.reason != STAPLE_OCSP_MALFORMED_REQUEST)) {
        return 0;
    }
    staple_cache_state(round->task->refresh->conf.cache,
                       round->task->cert->slot, &state);
    return state.failing % OTHER_HASH_EVERY == 0;
}

static void on_done(void *baton, const staple_fetch_answer_t *answer)
{
    round_t *round = baton;

    if (wants_other_hash(round, answer)) {
        round->hash = other_hash(round->hash);
        round->is_second_hash = 1;
        if (ask(round) == APR_SUCCESS) {
            return;
        }
    }
    finish(round, answer);
}

static apr_status_t ask(round_t *round)
{
    task_t *task = round->task;
    const staple_cert_t *cert = task->cert;
    staple_fetch_job_t job;
    apr_status_t rv;

    memset(&job, 0, sizeof(job));
    rv = staple_ocsp_request(cert->subject, round->hash, &job.request,
                             &job.request_len, round->pool);
    if (rv) {
        return rv;
    }
    job.urls = (const char *const *)cert->urls->elts;
    job.urls_count = cert->urls->nelts;
    job.first_url = task->first_url;
    job.proxy = cert->policy.proxy;
    job.timeout = cert->policy.timeout;
    job.judge = judge;
    job.done = on_done;
    job.baton = round;
    if (!round->is_second_hash) {
        job.if_none_match = *task->etag ? task->etag : NULL;
        job.if_modified_since = *task->last_modified ? task->last_modified
                                                     : NULL;
    }
    return staple_fetch_submit(task->refresh->fetch, &job);
}

/* The round cannot even be sent off: try again when failures usually do. */
static void give_up(round_t *round, apr_status_t rv)
{
    task_t *task = round->task;

    staple_refresh_log_no_request(task->refresh->conf.server, task->cert, rv);
    task->due = apr_time_now() + task->cert->policy.retry_cap + SECONDS(1);
    task->round = NULL;
    apr_pool_destroy(round->pool);
}

static void ask_or_give_up(round_t *round)
{
    apr_status_t rv = ask(round);

    if (rv) {
        give_up(round, rv);
    }
}

/* ----- what a fleet shares ----- */

static void drop(round_t *round)
{
    round->task->round = NULL;
    apr_pool_destroy(round->pool);
}

static void on_claimed(void *baton, const staple_share_answer_t *answer)
{
    round_t *round = baton;

    if (round->task->refresh->is_resigning) {
        drop(round);
    }
    else if (answer->outcome == STAPLE_SHARE_TAKEN) {
        round->wake = apr_time_now() + SHARE_PAUSE;
    }
    else {
        ask_or_give_up(round);
    }
}

/* Nothing in the share: ask, unless another server is at it. */
static void claim(round_t *round)
{
    const staple_cert_t *cert = round->task->cert;

    if (staple_share_claim(round->task->refresh->conf.share, cert->id,
                           cert->policy.timeout + SECONDS(1), SHARE_PATIENCE,
                           on_claimed, round)) {
        ask_or_give_up(round);
    }
}

static int is_answer_wanted(round_t *round,
                            const staple_share_answer_t *answer)
{
    const staple_cert_t *cert = round->task->cert;
    apr_time_t now = apr_time_now();
    held_t held;

    if (answer->outcome != STAPLE_SHARE_FOUND
        || !staple_refresh_is_believed(cert, answer->der, answer->der_len,
                                       &round->verdict)) {
        return 0;
    }
    held = look(round->task->refresh, cert, now);
    return is_wanted(cert, &held, &round->verdict, now);
}

static void on_shared(void *baton, const staple_share_answer_t *answer)
{
    round_t *round = baton;

    if (round->task->refresh->is_resigning) {
        drop(round);
    }
    else if (is_answer_wanted(round, answer)) {
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
static void look_around(round_t *round)
{
    staple_share_t *share = round->task->refresh->conf.share;

    round->wake = 0;
    if (!share || staple_share_get(share, round->task->cert->id,
                                   SHARE_PATIENCE, on_shared, round)) {
        ask_or_give_up(round);
    }
}

static void begin_round(task_t *task, apr_time_t now)
{
    apr_pool_t *p;

    apr_pool_create(&p, task->refresh->lead_pool);
    apr_pool_tag(p, "staple_round");
    task->round = apr_pcalloc(p, sizeof(*task->round));
    task->round->task = task;
    task->round->pool = p;
    task->round->hash = first_hash(task);
    task->round->wait_until = now + task->cert->policy.timeout;
    look_around(task->round);
}

/* RFC 9919 4.2: an expired certificate is not worth a question. */
static void pass_expired(task_t *task, apr_time_t now)
{
    task->due = now + EXPIRED_PAUSE;
    if (!task->is_expired) {
        staple_refresh_log_expired(task->refresh->conf.server, task->cert);
        task->is_expired = 1;
    }
}

/* ----- responses out of files ----- */

/* There is nobody to ask: the file was looked at and has nothing newer. */
static void remind(task_t *task, apr_time_t now)
{
    staple_refresh_t *refresh = task->refresh;
    held_t held = look(refresh, task->cert, now);
    alarm_e alarm = alarm_of(task->cert, &held, now);
    apr_interval_time_t left = staple_refresh_is_valid(&held)
                               ? held.until - now : 0;
    apr_pool_t *p;

    apr_pool_create(&p, refresh->lead_pool);
    staple_refresh_log_reminder(refresh->conf.server, task, &held, alarm, p);
    apr_pool_destroy(p);
    if (alarm > task->alarm) {
        task->alarm = alarm;
    }
    task->due = now + (left / 4 > REMINDER_PAUSE ? left / 4 : REMINDER_PAUSE);
}

static int uses_file(const staple_cert_t *cert, const char *path)
{
    int i;

    for (i = 0; i < cert->policy.response_files->nelts; i++) {
        if (!strcmp(APR_ARRAY_IDX(cert->policy.response_files, i,
                                  const char *), path)) {
            return 1;
        }
    }
    return 0;
}

/* Offer a file's response to one certificate; returns why it is not its. */
static staple_ocsp_reason_e offer(task_t *task, const unsigned char *der,
                                  apr_size_t len, apr_pool_t *ptemp)
{
    staple_refresh_t *refresh = task->refresh;
    apr_time_t now = apr_time_now();
    staple_ocsp_verdict_t verdict;
    held_t held;

    if (!staple_refresh_is_believed(task->cert, der, len, &verdict)) {
        return verdict.reason;
    }
    held = look(refresh, task->cert, now);
    if (take(refresh, task->cert, &held, &verdict, der, len, ptemp)) {
        task->alarm = ALARM_NONE;
        task->due = staple_refresh_due(&task->cert->policy, task->cert->id,
                                       verdict.this_update,
                                       verdict.next_update, now, -1);
    }
    return STAPLE_OCSP_OK;
}

/* To every certificate of a virtual host that names the file; the CertID
 * finds the one that is meant. */
static void offer_to_all(staple_refresh_t *refresh, response_file_t *file,
                         const unsigned char *der, apr_size_t len,
                         apr_pool_t *ptemp)
{
    staple_ocsp_reason_e reason = STAPLE_OCSP_OTHER_CERT;
    apr_size_t i;

    for (i = 0; i < refresh->count; i++) {
        task_t *task = &refresh->tasks[i];

        if (task->cert && uses_file(task->cert, file->path)) {
            staple_ocsp_reason_e this_one = offer(task, der, len, ptemp);

            if (this_one != STAPLE_OCSP_OTHER_CERT) {
                reason = this_one;
            }
        }
    }
    if (reason != STAPLE_OCSP_OK) {
        staple_refresh_file_log(refresh->conf.server, file,
                                apr_pstrcat(ptemp, "holds a response that ",
                                            staple_ocsp_reason_text(reason),
                                            NULL));
    }
}

static void read_file(staple_refresh_t *refresh, response_file_t *file,
                      apr_pool_t *ptemp)
{
    const unsigned char *der;
    const char *reason;
    apr_size_t len;

    if (staple_refresh_file_read(file, &der, &len, &reason, ptemp)) {
        staple_refresh_file_log(refresh->conf.server, file, reason);
        return;
    }
    offer_to_all(refresh, file, der, len, ptemp);
}

static void look_at_files(staple_refresh_t *refresh, apr_time_t now)
{
    apr_pool_t *p;
    int i;

    if (!refresh->files->nelts || now < refresh->files_due) {
        return;
    }
    refresh->files_due = now + FILE_PAUSE;
    apr_pool_create(&p, refresh->lead_pool);
    for (i = 0; i < refresh->files->nelts; i++) {
        response_file_t *file = &APR_ARRAY_IDX(refresh->files, i,
                                               response_file_t);

        if (staple_refresh_file_changed(file, p)) {
            read_file(refresh, file, p);
        }
        apr_pool_clear(p);
    }
    apr_pool_destroy(p);
}

static void add_files(staple_refresh_t *refresh, const staple_cert_t *cert)
{
    int i, k;

    for (i = 0; i < cert->policy.response_files->nelts; i++) {
        const char *path = APR_ARRAY_IDX(cert->policy.response_files, i,
                                         const char *);

        for (k = 0; k < refresh->files->nelts
                    && strcmp(APR_ARRAY_IDX(refresh->files, k,
                                            response_file_t).path, path);
             k++) {
            continue;
        }
        if (k == refresh->files->nelts) {
            response_file_t *file = apr_array_push(refresh->files);

            memset(file, 0, sizeof(*file));
            file->path = path;
        }
    }
}

static void begin(task_t *task, apr_time_t now)
{
    if (now > task->cert->not_after) {
        pass_expired(task, now);
    }
    else if (!task->cert->urls->nelts) {
        remind(task, now);
    }
    else {
        begin_round(task, now);
    }
}

/* ----- leading ----- */

static apr_time_t monotonic(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return SECONDS(t.tv_sec) + t.tv_nsec / 1000;
}

/* A held response has its due time; a certificate with nothing is asked for
 * at once. */
static apr_time_t plan_afresh(staple_refresh_t *refresh,
                              const staple_cert_t *cert, apr_time_t now)
{
    held_t held = look(refresh, cert, now);
    apr_time_t fetched_at = held.meta.fetched_at < now ? held.meta.fetched_at
                                                       : now;

    return staple_refresh_is_valid(&held)
           ? staple_refresh_due(&cert->policy, cert->id,
                                held.meta.this_update, held.meta.next_update,
                                fetched_at, -1)
           : now;
}

/* What this generation planned already, backing off say, holds. */
static apr_time_t plan(staple_refresh_t *refresh, const staple_cert_t *cert,
                       apr_time_t created, apr_time_t now)
{
    staple_cache_state_t state;

    staple_cache_state(refresh->conf.cache, cert->slot, &state);
    return state.last_attempt >= created && state.next_due
           ? state.next_due : plan_afresh(refresh, cert, now);
}

static void plan_all(staple_refresh_t *refresh)
{
    const apr_array_header_t *list = staple_cert_list(refresh->conf.registry);
    apr_time_t now = apr_time_now();
    staple_cache_usage_t usage;
    int i;

    staple_cache_usage(refresh->conf.cache, &usage);
    refresh->count = staple_cache_count(refresh->conf.cache);
    refresh->tasks = apr_pcalloc(refresh->lead_pool,
                                 refresh->count * sizeof(task_t));
    refresh->other_hash = apr_hash_make(refresh->lead_pool);
    refresh->files = apr_array_make(refresh->lead_pool, 1,
                                    sizeof(response_file_t));
    refresh->files_due = 0;
    refresh->wall = now;
    refresh->mono = monotonic();
    for (i = 0; i < list->nelts; i++) {
        staple_cert_t *cert = APR_ARRAY_IDX(list, i, staple_cert_t *);
        task_t *task;

        if (cert->slot < 0) {
            continue;
        }
        task = &refresh->tasks[cert->slot];
        task->refresh = refresh;
        task->cert = cert;
        task->due = plan(refresh, cert, usage.created, now);
        add_files(refresh, cert);
    }
}

apr_status_t staple_refresh_lead(staple_refresh_t *refresh)
{
    staple_fetch_t *fetch;
    apr_status_t rv;

    apr_pool_create(&refresh->lead_pool, refresh->pool);
    apr_pool_tag(refresh->lead_pool, "staple_lead");
    rv = staple_fetch_create(&fetch, &refresh->conf.fetch,
                             refresh->lead_pool);
    if (rv) {
        apr_pool_destroy(refresh->lead_pool);
        refresh->lead_pool = NULL;
        return rv;
    }
    apr_thread_mutex_lock(refresh->mutex);
    refresh->fetch = fetch;
    if (refresh->is_stopped) {
        staple_fetch_stop(fetch);
    }
    apr_thread_mutex_unlock(refresh->mutex);
    refresh->buf = apr_palloc(refresh->lead_pool, STAPLE_CACHE_DER_MAX);
    if (refresh->conf.share) { /* without its thread it does not answer */
        staple_share_start(refresh->conf.share);
    }
    plan_all(refresh);
    return APR_SUCCESS;
}

/* Due times are moments of the wall clock, because a response's are. When the
 * clock is set, what was planned by the old one is worth nothing. */
static void heed_clock(staple_refresh_t *refresh, apr_time_t now)
{
    apr_time_t mono = monotonic();
    apr_interval_time_t jump = (now - refresh->wall) - (mono - refresh->mono);
    apr_size_t i;

    refresh->wall = now;
    refresh->mono = mono;
    if (jump <= CLOCK_JUMP && jump >= -CLOCK_JUMP) {
        return;
    }
    staple_refresh_log_clock(refresh->conf.server, jump);
    refresh->files_due = now;
    for (i = 0; i < refresh->count; i++) {
        task_t *task = &refresh->tasks[i];

        if (task->cert && !task->round) {
            task->due = plan_afresh(refresh, task->cert, now);
        }
    }
}

/* Send off what is due, and what has waited for another server. */
static void send_off(staple_refresh_t *refresh, apr_time_t now)
{
    apr_size_t i;

    for (i = 0; i < refresh->count; i++) {
        task_t *task = &refresh->tasks[i];

        if (!task->cert) {
            continue;
        }
        if (!task->round && task->due <= now) {
            begin(task, now);
        }
        else if (task->round && task->round->wake
                 && task->round->wake <= now) {
            look_around(task->round);
        }
    }
}

/* Collect what the share has to say; returns whether it owes more. */
static int hear_share(staple_refresh_t *refresh)
{
    return refresh->conf.share
           && staple_share_run(refresh->conf.share,
                               staple_fetch_busy(refresh->fetch)
                               ? 0 : SHARE_SLICE);
}

/* One slice; returns whether there is more to wait for. */
static int step_once(staple_refresh_t *refresh, apr_interval_time_t span)
{
    apr_time_t now = apr_time_now();
    int is_owed;

    heed_clock(refresh, now);
    look_at_files(refresh, now);
    send_off(refresh, now);
    is_owed = hear_share(refresh);
    if (!staple_fetch_busy(refresh->fetch)) {
        return is_owed;
    }
    return staple_fetch_run(refresh->fetch, is_owed ? SHARE_SLICE : span) > 0
           || is_owed;
}

void staple_refresh_step(staple_refresh_t *refresh, apr_interval_time_t span)
{
    apr_time_t end = monotonic() + span;
    apr_interval_time_t left = span;

    while (left > 0 && !refresh->is_stopped
           && step_once(refresh, left < SLICE ? left : SLICE)) {
        left = end - monotonic();
    }
}

void staple_refresh_stop(staple_refresh_t *refresh)
{
    apr_thread_mutex_lock(refresh->mutex);
    refresh->is_stopped = 1;
    if (refresh->fetch) {
        staple_fetch_stop(refresh->fetch);
    }
    apr_thread_mutex_unlock(refresh->mutex);
}

void staple_refresh_resign(staple_refresh_t *refresh)
{
    staple_fetch_t *fetch = refresh->fetch;

    if (!fetch) {
        return;
    }
    refresh->is_resigning = 1;
    if (refresh->conf.share) {
        staple_share_stop(refresh->conf.share);
    }
    apr_thread_mutex_lock(refresh->mutex);
    refresh->fetch = NULL;
    apr_thread_mutex_unlock(refresh->mutex);
    staple_fetch_destroy(fetch);
    apr_pool_destroy(refresh->lead_pool);
    refresh->lead_pool = NULL;
    refresh->tasks = NULL;
    refresh->count = 0;
    refresh->is_resigning = 0;
}

/* ----- what a file brought ----- */

static const staple_cert_t *cert_of_slot(const staple_refresh_t *refresh,
                                         int slot)
{
    const apr_array_header_t *list = staple_cert_list(refresh->conf.registry);
    int i;

    for (i = slot; i < list->nelts; i++) { /* slots follow the list's order */
        const staple_cert_t *cert = APR_ARRAY_IDX(list, i, staple_cert_t *);

        if (cert->slot == slot) {
            return cert;
        }
    }
    return NULL;
}

static int is_pending_true(const staple_refresh_t *refresh,
                           const staple_cert_t *cert,
                           unsigned char buf[STAPLE_CACHE_DER_MAX])
{
    staple_ocsp_verdict_t verdict;
    staple_cache_meta_t meta;
    apr_size_t len;

    return cert
           && staple_cache_read_pending(refresh->conf.cache, cert->slot, buf,
                                        STAPLE_CACHE_DER_MAX, &len, &meta)
              == APR_SUCCESS
           && staple_refresh_is_believed(cert, buf, len, &verdict)
           && (apr_uint32_t)verdict.status == meta.status
           && verdict.this_update == meta.this_update
           && verdict.next_update == meta.next_update;
}

void staple_refresh_confirm(staple_refresh_t *refresh,
                            apr_interval_time_t patience)
{
    staple_cache_t *cache = refresh->conf.cache;
    apr_time_t deadline = apr_time_now() + patience;
    unsigned char buf[STAPLE_CACHE_DER_MAX];
    int slot;

    while ((slot = staple_cache_claim_pending(cache)) >= 0) {
        staple_cache_confirm(cache, slot,
                             is_pending_true(refresh,
                                             cert_of_slot(refresh, slot),
                                             buf));
    }
    while (staple_cache_pending(cache) && apr_time_now() < deadline) {
        apr_sleep(POLL_PAUSE); /* another child is at the last ones */
    }
}

/* ----- what a cold start waits for ----- */

/* Whether nothing is held for a certificate and nobody has tried yet. */
static int is_awaited(const staple_refresh_t *refresh,
                      const staple_cert_t *cert, apr_time_t created)
{
    staple_cache_state_t state;
    unsigned char none[1];
    apr_size_t len;

    if (cert->slot < 0
        || staple_cache_read(refresh->conf.cache, cert->slot, none, 0, &len,
                             NULL) != APR_NOTFOUND) {
        return 0;
    }
    staple_cache_state(refresh->conf.cache, cert->slot, &state);
    return state.last_attempt < created;
}

void staple_refresh_await(const staple_refresh_t *refresh,
                          apr_interval_time_t patience,
                          apr_interval_time_t must_patience)
{
    const apr_array_header_t *list = staple_cert_list(refresh->conf.registry);
    apr_time_t start = apr_time_now();
    staple_cache_usage_t usage;
    int i = 0;

    staple_cache_usage(refresh->conf.cache, &usage);
    while (i < list->nelts) { /* what was settled once stays so */
        const staple_cert_t *cert = APR_ARRAY_IDX(list, i, staple_cert_t *);
        apr_time_t waited = apr_time_now() - start;

        if (!is_awaited(refresh, cert, usage.created)
            || waited >= (cert->is_must_staple ? must_patience : patience)) {
            i++;
        }
        else {
            apr_sleep(POLL_PAUSE);
        }
    }
}

const char *staple_refresh_missing(const staple_refresh_t *refresh)
{
    const apr_array_header_t *list = staple_cert_list(refresh->conf.registry);
    unsigned char buf[STAPLE_CACHE_DER_MAX]; /* refresh->buf is the leader's */
    apr_time_t now = apr_time_now();
    int i;

    for (i = 0; i < list->nelts; i++) {
        const staple_cert_t *cert = APR_ARRAY_IDX(list, i, staple_cert_t *);

        if (cert->is_must_staple && cert->scope == STAPLE_CERT_APPLIES) {
            held_t held = look_into(refresh->conf.cache, cert, now, buf);

            if (!staple_refresh_is_valid(&held)) {
                return cert->name;
            }
        }
    }
    return NULL;
}

apr_status_t staple_refresh_create(staple_refresh_t **refreshp,
                                   const staple_refresh_conf_t *conf,
                                   apr_pool_t *p)
{
    staple_refresh_t *refresh = apr_pcalloc(p, sizeof(*refresh));

    refresh->conf = *conf;
    refresh->pool = p;
    *refreshp = refresh;
    return apr_thread_mutex_create(&refresh->mutex, APR_THREAD_MUTEX_DEFAULT,
                                   p);
}
