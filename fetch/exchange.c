/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * An exchange, see fetch/fetch_int.h for the contract: a job's visit to one
 * responder. What lives here: going to a site, its name, and what follows from
 * an answer: a redirect, the other method, another address. What does not:
 * whose turn it is (fetch/queue.c), connections and what they carry
 * (fetch/attempt.c), names (fetch/dns.c), HTTP itself (pure/staple_http.c), and
 * what an end means (fetch/end.c).
 *
 * The one idea: each step leads to the next one, or to an end, or it returns
 * because a peer has to be waited for. So a step is called last, and nothing
 * of the exchange is touched after it. In the file the last step comes first.
 *
 *     visit -> resolve -> attempts (fetch/attempt.c) -> on_response -> judge
 *       ^                    ^                              |            |
 *       |                    +------ another address -------+------------+
 *       +------------------- a redirect, the other method --+------------+
 */

#include "fetch_int.h"

#include <netdb.h>
#include <string.h>

#include <apr_strings.h>

#define REDIRECTS_MAX 3

/* So many addresses may give an answer that another one might better: a
 * responder whose addresses all say the same is not asked by all of them. */
#define REFUSALS_MAX 3

/* The longest time for which an address may be silent before another one is
 * asked beside it; a third of the exchange's, where that is less. */
#define PATIENCE_MAX apr_time_from_sec(3)

/* For so long an exchange has its place among those of StapleFetchConcurrency;
 * one that takes longer waits beside them. */
#define PLACE_SPAN apr_time_from_msec(250)

/* What has waited for so long when a responder begins to answer others is
 * begun anew. */
#define RESTART_SPAN apr_time_from_sec(1)

/* Steps that others may lead back to. */
static void resolve(staple_fetch_t *fetch, exchange_t *ex);
static void look_up(staple_fetch_t *fetch, exchange_t *ex);
static void visit_site(staple_fetch_t *fetch, exchange_t *ex, site_t *site);

/* ---- state ---- */

const char *staple_fetch_exchange_where(const exchange_t *ex)
{
    const site_t *site = ex->site;

    return apr_psprintf(ex->pool,
                        strchr(site->host, ':') ? "%s[%s]:%u" : "%s%s:%u",
                        site->is_proxied ? "the proxy " : "", site->host,
                        site->port);
}

static const char *state_text(exchange_state_e state)
{
    switch (state) {
    case RESOLVING:
        return "resolving";
    case CONNECTING:
        return "connecting";
    case SENDING:
        return "sending";
    case RECEIVING:
        return "receiving";
    case ENDED:
        return "ended";
    }
    return "unknown";
}

void staple_fetch_exchange_set_state(staple_fetch_t *fetch, exchange_t *ex,
                                     exchange_state_e state,
                                     const attempt_t *attempt)
{
    staple_fetch_trace_t trace = { 0 };

    if (fetch->conf.trace) {
        trace.url = staple_fetch_job_url(ex->job);
        trace.peer = attempt ? attempt->peer : "";
        trace.from = state_text(ex->state);
        trace.to = state_text(state);
        trace.detail = state == ENDED && ex->has_failed ? ex->failure.reason
                                                        : "";
        trace.took = staple_clock_now() - ex->visited_at;
        fetch->conf.trace(fetch->conf.trace_baton, &trace);
    }
    ex->state = state;
}

/* The deadline has passed; what was it waiting for? */
static void expire(staple_fetch_t *fetch, exchange_t *ex)
{
    int seconds = (int)apr_time_sec(ex->job->ask.timeout + 500000);
    const char *where = staple_fetch_exchange_where(ex);
    attempt_t *attempt = staple_fetch_attempt_furthest(ex);

    if (ex->state == RESOLVING) {
        staple_fetch_note_failure(ex, NULL, STAPLE_FETCH_NO_NAME,
                                  "the name %s was not resolved in time: do the"
                                  " name servers answer?", ex->site->host);
    }
    else if (attempt) {
        staple_fetch_note_failure(ex, attempt, STAPLE_FETCH_TIMEOUT,
                                  "no whole answer of %s within %d s (%"
                                  APR_SIZE_T_FMT " bytes came)", where, seconds,
                                  attempt->received);
    }
    else if (staple_fetch_attempt_is_open(ex)) {
        staple_fetch_attempt_note_error(ex, NULL, APR_TIMEUP);
    }
    else if (!ex->has_failed) {
        staple_fetch_note_failure(ex, NULL, STAPLE_FETCH_TIMEOUT,
                                  "all connections that %s may be given are in"
                                  " use", where);
    }
    if (!ex->is_fresh) {
        ex->site->fresh_to = 0; /* the name may have moved */
    }
    staple_fetch_attempt_end_all(fetch, ex, 1);
    staple_fetch_fail(fetch, ex);
}

/* ---- the answer ---- */

/* Ask the responder itself, rather than where it has redirected to. */
static void use_method(exchange_t *ex, int is_post)
{
    ex->is_post = is_post;
    ex->url = is_post ? ex->post_url : ex->get_url;
    ex->redirects = 0;
}

/* Back to the responder with the other method, if there is one left. */
static int switch_method(staple_fetch_t *fetch, exchange_t *ex)
{
    if (ex->is_switched || !ex->can_get) {
        return 0;
    }
    ex->is_switched = 1;
    ex->may_cure = 0;
    use_method(ex, !ex->is_post);
    visit_site(fetch, ex, ex->responder->site);
    return 1;
}

/* Statuses that say no more than that the responder dislikes the method. */
static int may_switch(int status)
{
    return status == 400 || status == 403 || status == 404 || status == 405
           || status == 414 || status == 501;
}

/* Statuses of a server that is ill, or in front of one that is. */
static int is_server_error(int status)
{
    return status >= 500;
}

static int is_redirect(const staple_http_response_t *response)
{
    int status = response->status;

    return (status == 301 || status == 302 || status == 303 || status == 307
            || status == 308)
           && response->location;
}

/* The URL that is asked next; whether there is one. */
static int follow(exchange_t *ex, const staple_http_response_t *response)
{
    staple_url_e reason;
    staple_url_t url;

    if (ex->redirects++ == REDIRECTS_MAX) {
        staple_fetch_note_failure(ex, ex->answered, STAPLE_FETCH_BAD_REDIRECT,
                                  "%s redirects more than %d times",
                                  staple_fetch_exchange_where(ex),
                                  REDIRECTS_MAX);
        return 0;
    }
    reason = staple_url_resolve(&url, &ex->url, response->location, ex->pool);
    if (reason != STAPLE_URL_OK) {
        staple_fetch_note_failure(ex, ex->answered, STAPLE_FETCH_BAD_REDIRECT,
                                  "%s redirects to a URL that %s",
                                  staple_fetch_exchange_where(ex),
                                  staple_url_text(reason));
        return 0;
    }
    ex->url = url;
    return 1;
}

/* RFC 9110 15.4; a POST stays one, but for 303. */
static void redirect(staple_fetch_t *fetch, exchange_t *ex,
                     const staple_http_response_t *response)
{
    const staple_url_t *through;
    staple_url_t proxy;
    site_t *site;

    if (!follow(ex, response)) {
        staple_fetch_fail(fetch, ex);
        return;
    }
    staple_fetch_job_proxy(ex->job, &proxy, &through,
                           ex->pool); /* it was good when it was routed */
    site = staple_fetch_queue_site(&fetch->queue, &ex->url, through, ex->pool);
    if (!site) {
        staple_fetch_note_failure(ex, NULL, STAPLE_FETCH_SYSTEM,
                                  "out of memory");
        staple_fetch_fail(fetch, ex);
        return;
    }
    ex->is_post = ex->is_post && response->status != 303;
    visit_site(fetch, ex, site);
}

/* An old answer may come from a cache on the way: have it ask the responder.
 * What is sent with POST is not answered by caches (RFC 9110 9.3.3). Whether
 * that was still to be done. */
static int pass_caches(staple_fetch_t *fetch, exchange_t *ex)
{
    if (ex->is_past_caches || ex->is_post) {
        return 0;
    }
    ex->is_past_caches = 1;
    visit_site(fetch, ex, ex->site);
    return 1;
}

/* An answer that another address may better: it is asked, if not too many
 * have said the like. */
static void ask_elsewhere(staple_fetch_t *fetch, attempt_t *attempt)
{
    exchange_t *ex = attempt->ex;

    if (++ex->refusals >= REFUSALS_MAX) {
        ex->waiting_count = ex->next_waiting;
    }
    staple_fetch_attempt_fail(fetch, attempt);
}

static void on_refusal(staple_fetch_t *fetch, attempt_t *attempt,
                       staple_fetch_judgement_e judgement)
{
    exchange_t *ex = attempt->ex;

    staple_fetch_note_failure(ex, attempt, STAPLE_FETCH_REJECTED,
                              "the answer of %s was not accepted",
                              staple_fetch_exchange_where(ex));
    switch (judgement) {
    case STAPLE_FETCH_UNREADABLE:
        ex->may_cure = 1;
        ask_elsewhere(fetch, attempt);
        break;
    case STAPLE_FETCH_UNUSABLE:
        ask_elsewhere(fetch, attempt);
        break;
    case STAPLE_FETCH_STALE:
        if (!pass_caches(fetch, ex)) {
            ex->may_cure = !ex->is_post; /* a cache may not obey */
            ask_elsewhere(fetch, attempt);
        }
        break;
    case STAPLE_FETCH_BAD_METHOD:
        if (!switch_method(fetch, ex)) {
            staple_fetch_fail(fetch, ex);
        }
        break;
    default:
        staple_fetch_fail(fetch, ex);
    }
}

static void ask_judge(staple_fetch_t *fetch, attempt_t *attempt)
{
    staple_fetch_judgement_e judgement = STAPLE_FETCH_ACCEPTED;
    const staple_fetch_job_t *job = &attempt->ex->job->ask;
    staple_fetch_answer_t answer;

    staple_fetch_make_answer(attempt, &answer);
    answer.reason = staple_fetch_outcome_text(STAPLE_FETCH_OK);
    if (job->judge) {
        judgement = job->judge(job->baton, &answer);
    }
    if (judgement == STAPLE_FETCH_ACCEPTED) {
        staple_fetch_succeed(fetch, attempt->ex, STAPLE_FETCH_OK);
    }
    else {
        on_refusal(fetch, attempt, judgement);
    }
}

/* The responder, rather than an address of it, has said no. */
static void on_http_error(staple_fetch_t *fetch, attempt_t *attempt, int status)
{
    exchange_t *ex = attempt->ex;

    if (may_switch(status) && switch_method(fetch, ex)) {
        return;
    }
    staple_fetch_note_failure(ex, attempt, STAPLE_FETCH_HTTP_STATUS,
                              "%s answered with HTTP status %d to %s",
                              staple_fetch_exchange_where(ex), status,
                              ex->is_post ? "POST" : "GET");
    if (is_server_error(status)) {
        ask_elsewhere(fetch, attempt);
        return;
    }
    staple_fetch_fail(fetch, ex);
}

/* What is learned about using connections of the site again: a second request
 * was answered, or a kept connection was silent where a new one was not. */
static void note_reuse(const attempt_t *attempt)
{
    const exchange_t *ex = attempt->ex;
    const attempt_t *other;

    if (attempt->is_reused) {
        ex->site->reuse = STAPLE_FETCH_REUSE_WORKS;
        return;
    }
    for (other = ex->attempts; other; other = other->older) {
        if (other->is_reused && other->conn && !other->received) {
            ex->site->reuse = STAPLE_FETCH_REUSE_FAILS;
        }
    }
}

/* A connection is kept if a whole request is behind it: an answer may come
 * before that (RFC 9112 9.3). */
static void release_connection(staple_fetch_t *fetch, attempt_t *attempt,
                               int is_reusable)
{
    note_reuse(attempt);
    if (is_reusable && attempt->sent == attempt->ex->request_len
        && attempt->ex->site->reuse != STAPLE_FETCH_REUSE_FAILS) {
        staple_fetch_conn_keep(&fetch->conns, attempt->conn,
                               staple_clock_now());
    }
    else {
        staple_fetch_conn_close(&fetch->conns, attempt->conn);
    }
    attempt->conn = NULL;
}

void staple_fetch_exchange_on_response(staple_fetch_t *fetch,
                                       attempt_t *attempt)
{
    const staple_http_response_t *response
        = staple_http_response(attempt->parser);
    exchange_t *ex = attempt->ex;

    release_connection(fetch, attempt, response->is_reusable);
    ex->answered = attempt;
    if (response->status == 200) {
        ask_judge(fetch, attempt);
    }
    else if (response->status == 304 && ex->is_conditional) {
        staple_fetch_succeed(fetch, ex, STAPLE_FETCH_NOT_MODIFIED);
    }
    else if (is_redirect(response)) {
        redirect(fetch, ex, response);
    }
    else {
        on_http_error(fetch, attempt, response->status);
    }
}

/* A name that was believed for a while may have other addresses by now: look
 * it up, once in a visit, unless another exchange has done so since. All others
 * go on with the addresses that are known. */
static int resolve_again(staple_fetch_t *fetch, exchange_t *ex)
{
    const site_t *site = ex->site;

    if (site->is_address || ex->is_fresh || ex->refusals >= REFUSALS_MAX) {
        return 0;
    }
    staple_fetch_exchange_set_state(fetch, ex, RESOLVING, NULL);
    if (site->fresh_to != ex->known_to) {
        ex->is_fresh = 1;
        resolve(fetch, ex);
        return 1;
    }
    look_up(fetch, ex);
    return 1;
}

/* The other method comes first: a look-up may fail, and takes longer. */
void staple_fetch_exchange_without_address(staple_fetch_t *fetch,
                                           exchange_t *ex)
{
    if (ex->may_cure && switch_method(fetch, ex)) {
        return;
    }
    if (resolve_again(fetch, ex)) {
        return;
    }
    staple_fetch_fail(fetch, ex);
}

/* ---- resolving ---- */

/* The site's addresses are known, if it has any that may be asked. */
static void leave_resolving(staple_fetch_t *fetch, exchange_t *ex,
                            apr_time_t now)
{
    if (!ex->site->addresses.count) {
        staple_fetch_note_failure(ex, NULL, STAPLE_FETCH_DENIED,
                                  "the address %s, port %u, %s",
                                  ex->site->refused_ip,
                                  (unsigned)ex->site->port,
                                  ex->site->refusal ? ex->site->refusal
                                                    : "is not understood");
        staple_fetch_fail(fetch, ex);
        return;
    }
    if (!ex->resolved_at) {
        ex->resolved_at = now;
    }
    ex->known_to = ex->site->fresh_to;
    staple_fetch_attempt_begin(fetch, ex);
}

/* Join a look-up of the name, or begin one; resolve() follows. */
static void look_up(staple_fetch_t *fetch, exchange_t *ex)
{
    site_t *site = ex->site;
    apr_status_t rv;

    if (site->is_looked_up) {
        ex->is_fresh = 1;
        return;
    }
    rv = staple_fetch_dns_start(fetch->dns, site->host, site);
    site->is_looked_up = ex->is_fresh = rv == APR_SUCCESS;
    if (rv != APR_SUCCESS && !APR_STATUS_IS_EAGAIN(rv)) {
        staple_fetch_note_failure(ex, NULL, STAPLE_FETCH_SYSTEM,
                                  "no thread could be started to resolve %s",
                                  site->host);
        staple_fetch_fail(fetch, ex);
    }
}

static void resolve(staple_fetch_t *fetch, exchange_t *ex)
{
    apr_time_t now = staple_clock_now();

    if (staple_fetch_queue_is_resolved(ex->site, now)) {
        leave_resolving(fetch, ex, now);
        return;
    }
    look_up(fetch, ex);
}

/* ---- a visit ---- */

static void make_request(const staple_fetch_t *fetch, exchange_t *ex)
{
    const staple_fetch_job_t *job = &ex->job->ask;
    staple_http_ask_t ask = { 0 };

    ask.user_agent = fetch->conf.user_agent;
    ask.is_proxied = ex->site->is_proxied;
    ask.proxy_credentials = job->proxy_credentials;
    ask.accept = job->request ? NULL : "*/*";
    if (ex->is_post) {
        ask.body = job->request;
        ask.body_len = job->request_len;
    }
    else {
        ask.is_past_caches = ex->is_past_caches;
        ask.if_none_match = job->if_none_match;
        ask.if_modified_since = job->if_modified_since;
    }
    ex->is_conditional = ask.if_none_match || ask.if_modified_since;
    ex->request = staple_http_request(&ex->url, &ask, &ex->request_len,
                                      ex->pool);
}

/* A proxy resolves names itself, so only an address can be judged here. */
static const char *literal_refusal(const staple_fetch_t *fetch,
                                   const exchange_t *ex)
{
    staple_fetch_endpoint_t endpoint;

    if (!ex->site->is_proxied || !ex->url.is_address) {
        return NULL;
    }
    return staple_fetch_dns_parse(&endpoint, ex->url.host)
           ? staple_fetch_queue_refusal(&fetch->queue, ex->url.host, &endpoint,
                                        ex->url.port)
           : "is not understood";
}

/* Nothing of what was done at another site, or with another method, counts. */
static void enter_site(staple_fetch_t *fetch, exchange_t *ex, site_t *site)
{
    staple_fetch_attempt_end_all(fetch, ex, 0);
    site->users++;
    if (ex->site) {
        ex->site->users--;
    }
    ex->site = site;
    ex->attempts = NULL;
    ex->waiting_count = ex->next_waiting = 0;
    ex->has_repeated = ex->is_slow = ex->is_fresh = 0;
    ex->visited_at = staple_clock_now();
    ex->resolved_at = 0;
}

/* Go, with a slot already held, and ask ex->url at its site. */
static void visit_site(staple_fetch_t *fetch, exchange_t *ex, site_t *site)
{
    const char *refusal;

    enter_site(fetch, ex, site);
    make_request(fetch, ex);
    staple_fetch_exchange_set_state(fetch, ex, RESOLVING, NULL);
    refusal = literal_refusal(fetch, ex);
    if (refusal) {
        staple_fetch_note_failure(ex, NULL, STAPLE_FETCH_DENIED,
                                  "the address %s, port %u, %s", ex->url.host,
                                  (unsigned)ex->url.port, refusal);
        staple_fetch_fail(fetch, ex);
        return;
    }
    resolve(fetch, ex);
}

/* ---- what the engine calls ---- */

static void init_exchange(exchange_t *ex, apr_time_t now)
{
    const staple_fetch_job_t *job = &ex->job->ask;
    apr_interval_time_t third = job->timeout / 3;

    ex->deadline = now + job->timeout;
    ex->patience = third < PATIENCE_MAX ? third : PATIENCE_MAX;
    staple_url_parse(&ex->post_url, staple_fetch_job_url(ex->job),
                     ex->pool); /* it was well formed when it was routed */
    if (!job->request) {
        ex->get_url = ex->post_url;
        use_method(ex, 0);
        return;
    }
    ex->can_get = staple_url_for_get(&ex->get_url, &ex->post_url, job->request,
                                     job->request_len, ex->pool);
    use_method(ex, !ex->can_get || ex->responder->prefers_post);
}

void staple_fetch_exchange_start(staple_fetch_t *fetch, job_t *job,
                                 responder_t *responder, apr_time_t now)
{
    apr_pool_t *pool;
    exchange_t *ex;

    if (apr_pool_create(&pool, fetch->pool) != APR_SUCCESS) {
        staple_fetch_job_pass_on_as(fetch, job, STAPLE_FETCH_SYSTEM,
                                    "out of memory");
        return;
    }
    ex = apr_pcalloc(pool, sizeof(*ex));
    ex->pool = pool;
    ex->job = job;
    ex->responder = responder;
    staple_fetch_queue_enter(&fetch->queue, responder, now, &ex->turn);
    ex->aside_at = job->ask.is_probe ? now : now + PLACE_SPAN;
    job->started = job->started ? job->started : now;
    APR_RING_INSERT_TAIL(&fetch->exchanges, ex, exchange_t, link);
    init_exchange(ex, now);
    visit_site(fetch, ex, responder->site);
}

/* The responder answers others again: begin anew, with all the time there is,
 * unless an answer has begun to come or was not long in coming. */
static void restart_if_silent(staple_fetch_t *fetch, exchange_t *ex,
                              apr_time_t now)
{
    ex->is_overtaken = 0;
    if (now - ex->visited_at < RESTART_SPAN
        || staple_fetch_attempt_has_bytes(ex)) {
        return;
    }
    ex->deadline = now + ex->job->ask.timeout;
    visit_site(fetch, ex, ex->site);
}

static int is_due_aside(const exchange_t *ex, apr_time_t now)
{
    return !ex->turn.is_aside && now >= ex->aside_at;
}

void staple_fetch_exchange_step(staple_fetch_t *fetch, exchange_t *ex,
                                apr_time_t now)
{
    if (is_due_aside(ex, now)
        && !staple_fetch_queue_set_aside(&fetch->queue, &ex->turn)) {
        ex->aside_at = now + PLACE_SPAN;
    }
    if (now >= ex->deadline) {
        expire(fetch, ex);
    }
    else if (ex->is_overtaken) {
        restart_if_silent(fetch, ex, now);
    }
    else if (ex->state == RESOLVING && !ex->site->is_looked_up) {
        resolve(fetch, ex);
    }
    else if (staple_fetch_attempt_is_left(ex) && now >= ex->next_attempt) {
        staple_fetch_attempt_step(fetch, ex, now);
    }
}

apr_time_t staple_fetch_exchange_next_step(const exchange_t *ex)
{
    apr_time_t then = ex->is_overtaken ? 0 : ex->deadline;

    if (staple_fetch_attempt_is_left(ex) && ex->next_attempt < then) {
        then = ex->next_attempt;
    }
    if (!ex->turn.is_aside && ex->aside_at < then) {
        then = ex->aside_at;
    }
    return then;
}

void staple_fetch_exchange_unresolved(staple_fetch_t *fetch, exchange_t *ex,
                                      int error)
{
    staple_fetch_note_failure(ex, NULL, STAPLE_FETCH_NO_NAME,
                              "the name %s could not be resolved: %s",
                              ex->site->host,
                              error ? gai_strerror(error)
                                    : "it has no address");
    staple_fetch_fail(fetch, ex);
}
