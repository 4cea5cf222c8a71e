/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The fetch engine, see staple_fetch.h for the contract. What lives here: an
 * exchange step by step, its deadline, and what a failure means for the job.
 * What does not: whose turn it is (staple_fetch_queue.c), sockets
 * (staple_fetch_conn.c), names (staple_fetch_dns.c), HTTP itself
 * (staple_http.c), OCSP, and any decision about when to ask.
 *
 * The one idea: a job travels, an exchange is one visit. The job carries what
 * was learned on the way; the visit holds everything that waits for a peer,
 * and ends in one of three places: succeed(), fail(), or the engine's end.
 *
 *     job  --submit-->  fresh  --route-->  queue  --start-->  exchange
 *                         ^                                      |
 *                         +----------- its next URL -------------+--> done
 *
 * Memory: a job is one block of malloc, since ten thousand of them may wait.
 * An exchange and a connection have a pool of their own. Nothing is taken from
 * the engine's pool once it runs.
 */

#include <stddef.h> /* first: the rings of APR want its offsetof */

#include "staple_fetch.h"
#include "staple_fetch_conn.h"
#include "staple_fetch_dns.h"
#include "staple_fetch_queue.h"
#include "staple_http.h"

#include <errno.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <apr_allocator.h>
#include <apr_atomic.h>
#include <apr_errno.h>
#include <apr_network_io.h>
#include <apr_poll.h>
#include <apr_ring.h>
#include <apr_strings.h>

/* RFC 8305 section 8, the Connection Attempt Delay. */
#define NEXT_ATTEMPT apr_time_from_msec(250)

/* When to look again for a descriptor or a place at a full address. */
#define RETRY_ATTEMPT apr_time_from_msec(20)

/* Shorter than the keep-alive of most servers, so that few are stale. */
#define KEEPALIVE apr_time_from_sec(4)

#define ENDPOINTS_MAX STAPLE_FETCH_ENDPOINTS_MAX
#define REDIRECTS_MAX 3
#define READS_MAX 8            /* of one connection, before others get a turn */
#define FREE_MAX (1024 * 1024) /* bytes kept for the pools to come */

typedef struct exchange_t exchange_t;
typedef staple_fetch_conn_t conn_t;
typedef staple_fetch_site_t site_t;
typedef staple_fetch_responder_t responder_t;
typedef staple_fetch_waiter_t waiter_t;
typedef staple_fetch_failure_t failure_t;

/* A job that waits or is under way; the strings lie behind it in its block. */
typedef struct job_t {
    waiter_t waiter;     /* first: in fresh, or in the queue */
    staple_fetch_job_t ask;
    int tried;           /* how many of its URLs are left behind */
    apr_time_t started;  /* when its first exchange began; 0: not yet */
    failure_t failure;   /* the last one worth telling */
} job_t;

/* Where an exchange stands, in order of its life. */
typedef enum {
    RESOLVING,  /* waits for a lookup of its site */
    CONNECTING, /* has attempts under way, or waits for the next one */
    SENDING,    /* has a connection and bytes left to write */
    RECEIVING   /* waits for the rest of the answer */
} exchange_state_e;

/* A job's visit to one responder, redirects and a second method included. */
struct exchange_t {
    APR_RING_ENTRY(exchange_t) link;
    apr_pool_t *pool;
    job_t *job;
    responder_t *responder; /* whose turn and health this counts for */
    site_t *site;           /* where it is asking now */
    exchange_state_e state;
    apr_time_t deadline;
    int is_probe;           /* whether it counts against the unproven */

    staple_http_url_t responder_url;
    staple_http_url_t url;  /* that is asked now */
    int is_post;
    int can_get;            /* whether GET is possible at this responder */
    int is_switched;        /* whether the other method was tried before */
    int is_rejected;        /* whether the judge has seen an answer */
    int is_conditional;     /* whether validators were sent */
    int redirects;

    staple_fetch_endpoint_t endpoints[ENDPOINTS_MAX];
    int endpoints_count;
    int next_endpoint;
    int attempts;           /* connections that are being made */
    apr_time_t next_attempt;
    apr_status_t connect_error; /* the most telling one so far */
    int has_failed_reuse;   /* whether only a fresh connection will do */

    conn_t *conn;           /* that carries it */
    const char *request;
    apr_size_t request_len;
    apr_size_t sent;
    apr_size_t received;
    staple_http_parser_t *parser;
    char peer[STAPLE_FETCH_PEER_LEN]; /* tried last */

    apr_time_t visited_at;  /* when the site was entered, */
    apr_time_t resolved_at; /* its addresses known, */
    apr_time_t connected_at; /* a connection there, */
    apr_time_t sent_at;     /* the request sent, */
    apr_time_t heard_at;    /* the first byte received; 0: not reached */
};
APR_RING_HEAD(exchanges_t, exchange_t);

struct staple_fetch_t {
    apr_pool_t *pool;
    staple_fetch_conf_t conf;
    apr_pollset_t *pollset;
    apr_uint32_t is_stopped;   /* written by any thread */
    int is_destroyed;
    int busy;                  /* jobs that wait or are under way */
    struct staple_fetch_waiter_ring_t fresh; /* jobs to be routed */
    struct exchanges_t exchanges;
    staple_fetch_queue_t queue;
    staple_fetch_conns_t conns;
    staple_fetch_dns_t *dns;
    apr_pool_t *scratch;       /* for routing, cleared each time */
};

/* Deadlines must not jump with the wall clock. */
static apr_time_t clock_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return apr_time_from_sec(now.tv_sec) + now.tv_nsec / 1000;
}

const char *staple_fetch_outcome_text(staple_fetch_outcome_e outcome)
{
    switch (outcome) {
    case STAPLE_FETCH_OK:
        return "answered";
    case STAPLE_FETCH_BAD_URL:
        return "not a URL that can be asked";
    case STAPLE_FETCH_DENIED:
        return "address denied by the configuration";
    case STAPLE_FETCH_NO_NAME:
        return "name not resolved";
    case STAPLE_FETCH_REFUSED:
        return "connection refused";
    case STAPLE_FETCH_UNREACHABLE:
        return "no route to the host";
    case STAPLE_FETCH_CONNECT_TIMEOUT:
        return "connection timed out";
    case STAPLE_FETCH_TIMEOUT:
        return "no whole answer in time";
    case STAPLE_FETCH_RESET:
        return "connection broke";
    case STAPLE_FETCH_NOT_HTTP:
        return "answer is not HTTP";
    case STAPLE_FETCH_HTTP_STATUS:
        return "HTTP error";
    case STAPLE_FETCH_TOO_LARGE:
        return "answer too large";
    case STAPLE_FETCH_TRUNCATED:
        return "answer cut short";
    case STAPLE_FETCH_BAD_REDIRECT:
        return "redirect not followed";
    case STAPLE_FETCH_REJECTED:
        return "answer not accepted";
    case STAPLE_FETCH_STOPPED:
        return "stopped";
    case STAPLE_FETCH_SYSTEM:
        return "out of resources";
    case STAPLE_FETCH_NOT_MODIFIED:
        return "not modified";
    }
    return "unknown outcome";
}

/* ---- the ends of a job ---- */

static int url_index(const job_t *job)
{
    return (job->ask.first_url + job->tried) % job->ask.urls_count;
}

static void init_answer(staple_fetch_answer_t *answer, const job_t *job,
                        int index)
{
    static const staple_fetch_answer_t none;

    *answer = none;
    answer->url_index = index;
    answer->url = job->ask.urls[index];
    answer->peer = answer->reason = "";
    answer->retry_after = answer->fresh_for = -1;
    answer->resolve_took = answer->connect_took = answer->wait_took = -1;
    answer->is_asked = job->started != 0;
    answer->took = job->started ? clock_now() - job->started : 0;
}

/* A phase, as far as both of its ends were reached. */
static apr_interval_time_t took(apr_time_t from, apr_time_t to)
{
    return from && to ? to - from : -1;
}

/* What an exchange has read, whole. */
static void add_response(staple_fetch_answer_t *answer, const exchange_t *ex)
{
    const staple_http_response_t *response = staple_http_response(ex->parser);
    apr_time_t now = apr_time_now();

    answer->http_status = response->status;
    answer->peer = ex->peer;
    answer->resolve_took = took(ex->visited_at, ex->resolved_at);
    answer->connect_took = took(ex->resolved_at, ex->connected_at);
    answer->wait_took = took(ex->sent_at, ex->heard_at);
    answer->body = response->body;
    answer->body_len = response->body_len;
    answer->is_typed = response->is_typed;
    answer->etag = response->etag;
    answer->last_modified = response->last_modified;
    answer->retry_after = staple_http_retry_after(response, now);
    answer->fresh_for = staple_http_fresh_for(response, now);
}

static void end_job(staple_fetch_t *fetch, job_t *job,
                    const staple_fetch_answer_t *answer)
{
    fetch->busy--;
    job->ask.done(job->ask.baton, answer);
    free(job);
}

/* The job's round has failed; ex is the exchange of its last failure, if it
 * had an answer to reject. */
static void end_failed(staple_fetch_t *fetch, job_t *job, const exchange_t *ex)
{
    const failure_t *failure = &job->failure;
    staple_fetch_answer_t answer;

    init_answer(&answer, job, failure->url_index);
    if (ex) {
        add_response(&answer, ex);
    }
    answer.outcome = failure->outcome;
    answer.http_status = failure->http_status;
    answer.peer = failure->peer;
    answer.reason = failure->reason;
    answer.resolve_took = failure->resolve_took;
    answer.connect_took = failure->connect_took;
    answer.wait_took = failure->wait_took;
    if (failure->retry_at) {
        answer.retry_after = failure->retry_at - clock_now();
        if (answer.retry_after < 0) {
            answer.retry_after = 0;
        }
    }
    end_job(fetch, job, &answer);
}

static void init_failure(failure_t *failure, const job_t *job,
                         staple_fetch_outcome_e outcome)
{
    static const failure_t none;

    *failure = none;
    failure->outcome = outcome;
    failure->url_index = url_index(job);
    failure->resolve_took = failure->connect_took = failure->wait_took = -1;
}

/* To the job's next URL, or to its end. A URL that cannot be asked does not
 * hide what befell one that was. */
static void pass_on(staple_fetch_t *fetch, job_t *job,
                    const failure_t *failure, const exchange_t *ex)
{
    int has_answer;

    if (failure->outcome != STAPLE_FETCH_BAD_URL
        || job->failure.outcome == STAPLE_FETCH_OK) {
        int index = url_index(job);

        job->failure = *failure;
        job->failure.url_index = index;
    }
    if (++job->tried < job->ask.urls_count) {
        APR_RING_INSERT_TAIL(&fetch->fresh, &job->waiter,
                             staple_fetch_waiter_t, link);
        return;
    }
    has_answer = ex && failure->outcome == STAPLE_FETCH_REJECTED
                 && staple_http_response(ex->parser)->status == 200;
    end_failed(fetch, job, has_answer ? ex : NULL);
}

static void pass_on_as(staple_fetch_t *fetch, job_t *job,
                       staple_fetch_outcome_e outcome, const char *reason)
{
    failure_t failure;

    init_failure(&failure, job, outcome);
    apr_cpystrn(failure.reason, reason, sizeof(failure.reason));
    pass_on(fetch, job, &failure, NULL);
}

/* ---- the ends of an exchange ---- */

/* Give everything back but the pool, which the caller may still read. */
static void leave(staple_fetch_t *fetch, exchange_t *ex)
{
    staple_fetch_conn_drop(&fetch->conns, ex);
    APR_RING_REMOVE(ex, link);
    ex->site->users--;
    staple_fetch_queue_leave(&fetch->queue, ex->responder, ex->is_probe,
                             clock_now());
}

/* Whether a status says that the responder, not the certificate, is the
 * matter. */
static int is_overload(int status)
{
    return status == 429 || (status >= 502 && status <= 504);
}

/* Who is to blame: the site that cannot be reached, the responder that does
 * not answer, or neither. */
static void note_outcome(staple_fetch_t *fetch, exchange_t *ex,
                         const failure_t *failure)
{
    apr_time_t now = clock_now();

    switch (failure->outcome) {
    case STAPLE_FETCH_NO_NAME:
    case STAPLE_FETCH_REFUSED:
    case STAPLE_FETCH_UNREACHABLE:
    case STAPLE_FETCH_CONNECT_TIMEOUT:
        staple_fetch_queue_note_unreached(ex->site, failure, now);
        if (ex->site == ex->responder->site) {
            break;
        }
        /* fall through */
    case STAPLE_FETCH_TIMEOUT:
    case STAPLE_FETCH_RESET:
    case STAPLE_FETCH_NOT_HTTP:
    case STAPLE_FETCH_TRUNCATED:
        staple_fetch_queue_note_failure(ex->responder, failure, now);
        break;
    case STAPLE_FETCH_HTTP_STATUS:
        if (is_overload(failure->http_status)) {
            staple_fetch_queue_note_failure(ex->responder, failure, now);
            break;
        }
        /* fall through */
    case STAPLE_FETCH_TOO_LARGE:
    case STAPLE_FETCH_BAD_REDIRECT:
    case STAPLE_FETCH_REJECTED:
        staple_fetch_queue_note_answer(&fetch->queue, ex->responder);
        break;
    default:
        break;
    }
}

/* The exchange has failed; the job goes on to its next URL. */
__attribute__((format(printf, 4, 5)))
static void fail(staple_fetch_t *fetch, exchange_t *ex,
                 staple_fetch_outcome_e outcome, const char *fmt, ...)
{
    failure_t failure;
    va_list ap;

    init_failure(&failure, ex->job, outcome);
    va_start(ap, fmt);
    apr_vsnprintf(failure.reason, sizeof(failure.reason), fmt, ap);
    va_end(ap);
    apr_cpystrn(failure.peer, ex->peer, sizeof(failure.peer));
    failure.resolve_took = took(ex->visited_at, ex->resolved_at);
    failure.connect_took = took(ex->resolved_at, ex->connected_at);
    failure.wait_took = took(ex->sent_at, ex->heard_at);
    if (ex->parser) {
        const staple_http_response_t *response
            = staple_http_response(ex->parser);
        apr_interval_time_t after
            = staple_http_retry_after(response, apr_time_now());

        failure.http_status = response->status;
        failure.retry_at = after < 0 ? 0 : clock_now() + after;
    }
    note_outcome(fetch, ex, &failure);
    leave(fetch, ex);
    pass_on(fetch, ex->job, &failure, ex);
    apr_pool_destroy(ex->pool);
}

static void succeed(staple_fetch_t *fetch, exchange_t *ex,
                    staple_fetch_outcome_e outcome)
{
    staple_fetch_answer_t answer;

    init_answer(&answer, ex->job, url_index(ex->job));
    add_response(&answer, ex);
    answer.outcome = outcome;
    answer.reason = staple_fetch_outcome_text(outcome);
    staple_fetch_queue_note_answer(&fetch->queue, ex->responder);
    if (ex->is_switched) {
        ex->responder->prefers_post = ex->is_post;
    }
    leave(fetch, ex);
    end_job(fetch, ex->job, &answer);
    apr_pool_destroy(ex->pool);
}

/* Where it connects to, for a reason: "ocsp.example:80". */
static const char *where(const exchange_t *ex)
{
    const site_t *site = ex->site;

    return apr_psprintf(ex->pool,
                        strchr(site->host, ':') ? "%s[%s]:%u" : "%s%s:%u",
                        site->is_proxied ? "the proxy " : "", site->host,
                        site->port);
}

static const char *error_text(const exchange_t *ex, apr_status_t rv)
{
    char *text = apr_palloc(ex->pool, 80);

    return apr_strerror(rv, text, 80);
}

static int is_unreachable(apr_status_t rv)
{
    return APR_STATUS_IS_ENETUNREACH(rv) || APR_STATUS_IS_EHOSTUNREACH(rv)
           || APR_STATUS_IS_EACCES(rv) || rv == EPERM || rv == EAFNOSUPPORT
           || rv == EADDRNOTAVAIL;
}

/* What lasts only until something else is closed. */
static int is_scarcity(apr_status_t rv)
{
    return rv == EMFILE || rv == ENFILE || rv == ENOBUFS
           || APR_STATUS_IS_ENOMEM(rv);
}

/* No address could be connected to. */
static void fail_connect(staple_fetch_t *fetch, exchange_t *ex)
{
    apr_status_t rv = ex->connect_error;

    if (APR_STATUS_IS_ECONNREFUSED(rv)) {
        fail(fetch, ex, STAPLE_FETCH_REFUSED,
             "connection refused: does anything listen at %s?", where(ex));
    }
    else if (APR_STATUS_IS_ETIMEDOUT(rv) || APR_STATUS_IS_TIMEUP(rv)) {
        fail(fetch, ex, STAPLE_FETCH_CONNECT_TIMEOUT,
             "connection timed out: is outbound traffic to %s allowed?",
             where(ex));
    }
    else if (is_unreachable(rv)) {
        fail(fetch, ex, STAPLE_FETCH_UNREACHABLE,
             "no route to %s (%s): is outbound traffic to it allowed?",
             where(ex), error_text(ex, rv));
    }
    else if (APR_STATUS_IS_ECONNRESET(rv)) {
        fail(fetch, ex, STAPLE_FETCH_RESET,
             "the connection to %s was reset at once", where(ex));
    }
    else {
        fail(fetch, ex, STAPLE_FETCH_SYSTEM, "no connection to %s: %s",
             where(ex), error_text(ex, rv));
    }
}

/* The deadline has passed; what was it waiting for? */
static void expire(staple_fetch_t *fetch, exchange_t *ex)
{
    int seconds = (int)apr_time_sec(ex->job->ask.timeout + 500000);

    if (ex->state == RESOLVING) {
        fail(fetch, ex, STAPLE_FETCH_NO_NAME,
             "the name %s was not resolved in time: do the name servers"
             " answer?", ex->site->host);
    }
    else if (ex->state == CONNECTING && ex->attempts) {
        ex->connect_error = APR_TIMEUP;
        fail_connect(fetch, ex);
    }
    else if (ex->state == CONNECTING && ex->connect_error) {
        fail_connect(fetch, ex);
    }
    else if (ex->state == CONNECTING) {
        fail(fetch, ex, STAPLE_FETCH_TIMEOUT,
             "all connections that %s may be given are in use", where(ex));
    }
    else {
        fail(fetch, ex, STAPLE_FETCH_TIMEOUT,
             "no whole answer of %s within %d s (%" APR_SIZE_T_FMT
             " bytes came)", where(ex), seconds, ex->received);
    }
}

/* ---- an exchange, step by step ---- */

static void connect_exchange(staple_fetch_t *fetch, exchange_t *ex);
static void visit(staple_fetch_t *fetch, exchange_t *ex, site_t *site);

/* Back to the responder with the other method, if there is one left. */
static int switch_method(staple_fetch_t *fetch, exchange_t *ex)
{
    const staple_fetch_job_t *ask = &ex->job->ask;

    if (ex->is_switched || !ex->can_get) {
        return 0;
    }
    ex->is_switched = 1;
    ex->is_post = !ex->is_post;
    ex->redirects = 0;
    ex->url = ex->responder_url;
    if (!ex->is_post) {
        staple_http_url_for_get(&ex->url, &ex->responder_url, ask->request,
                                ask->request_len, ex->pool);
    }
    visit(fetch, ex, ex->responder->site);
    return 1;
}

/* Statuses that say no more than that the responder dislikes the method. */
static int may_switch(int status)
{
    return status == 400 || status == 403 || status == 404 || status == 405
           || status == 414 || status == 501;
}

static int is_redirect(const staple_http_response_t *response)
{
    int status = response->status;

    return (status == 301 || status == 302 || status == 303 || status == 307
            || status == 308)
           && response->location;
}

static int parse_proxy(const job_t *job, staple_http_url_t *proxy,
                       apr_pool_t *p)
{
    return staple_http_url_parse(proxy, job->ask.proxy, p)
           == STAPLE_HTTP_URL_OK;
}

/* RFC 9110 15.4; a POST stays one, but for 303. */
static void redirect(staple_fetch_t *fetch, exchange_t *ex,
                     const staple_http_response_t *response)
{
    staple_http_url_t url, proxy;
    staple_http_url_e reason;
    site_t *site;

    if (ex->redirects++ == REDIRECTS_MAX) {
        fail(fetch, ex, STAPLE_FETCH_BAD_REDIRECT,
             "%s redirects more than %d times", where(ex), REDIRECTS_MAX);
        return;
    }
    reason = staple_http_url_resolve(&url, &ex->url, response->location,
                                     ex->pool);
    if (reason != STAPLE_HTTP_URL_OK) {
        fail(fetch, ex, STAPLE_FETCH_BAD_REDIRECT,
             "%s redirects to a URL that %s", where(ex),
             staple_http_url_text(reason));
        return;
    }
    if (ex->job->ask.proxy) {
        parse_proxy(ex->job, &proxy, ex->pool);
    }
    site = staple_fetch_queue_site(&fetch->queue, &url,
                                   ex->job->ask.proxy ? &proxy : NULL,
                                   ex->pool);
    if (!site) {
        fail(fetch, ex, STAPLE_FETCH_SYSTEM, "out of memory");
        return;
    }
    ex->url = url;
    ex->is_post = ex->is_post && response->status != 303;
    visit(fetch, ex, site);
}

static void reject(staple_fetch_t *fetch, exchange_t *ex)
{
    fail(fetch, ex, STAPLE_FETCH_REJECTED,
         "the answer of %s was not accepted", where(ex));
}

static void judge(staple_fetch_t *fetch, exchange_t *ex)
{
    staple_fetch_answer_t answer;

    init_answer(&answer, ex->job, url_index(ex->job));
    add_response(&answer, ex);
    answer.reason = staple_fetch_outcome_text(STAPLE_FETCH_OK);
    if (!ex->job->ask.judge
        || ex->job->ask.judge(ex->job->ask.baton, &answer)) {
        succeed(fetch, ex, STAPLE_FETCH_OK);
    }
    else {
        ex->is_rejected = 1;
        if (!switch_method(fetch, ex)) {
            reject(fetch, ex);
        }
    }
}

/* A response was read, whole unless only its status counts. */
static void answered(staple_fetch_t *fetch, exchange_t *ex)
{
    const staple_http_response_t *response = staple_http_response(ex->parser);

    if (response->is_reusable) {
        staple_fetch_conn_keep(&fetch->conns, ex->conn, clock_now());
    }
    else {
        staple_fetch_conn_close(&fetch->conns, ex->conn);
    }
    ex->conn = NULL;
    if (response->status == 200) {
        judge(fetch, ex);
    }
    else if (response->status == 304 && ex->is_conditional) {
        succeed(fetch, ex, STAPLE_FETCH_NOT_MODIFIED);
    }
    else if (is_redirect(response)) {
        redirect(fetch, ex, response);
    }
    else if (may_switch(response->status) && switch_method(fetch, ex)) {
        return;
    }
    else if (ex->is_rejected) {
        reject(fetch, ex); /* that the other method failed tells less */
    }
    else {
        fail(fetch, ex, STAPLE_FETCH_HTTP_STATUS,
             "%s answered with HTTP status %d to %s", where(ex),
             response->status, ex->is_post ? "POST" : "GET");
    }
}

/* The connection broke. One that was reused may have been closed just as it
 * was taken: that is no failure, and a fresh one is made, once. */
static void lost(staple_fetch_t *fetch, exchange_t *ex, apr_status_t rv)
{
    if (ex->conn->is_reused && !ex->received && !ex->has_failed_reuse) {
        staple_fetch_conn_close(&fetch->conns, ex->conn);
        ex->conn = NULL;
        ex->has_failed_reuse = 1;
        connect_exchange(fetch, ex);
    }
    else if (APR_STATUS_IS_EOF(rv)) {
        fail(fetch, ex, STAPLE_FETCH_RESET,
             "%s closed the connection without an answer", where(ex));
    }
    else {
        fail(fetch, ex, STAPLE_FETCH_RESET, "the connection to %s broke: %s",
             where(ex), error_text(ex, rv));
    }
}

static void spoiled(staple_fetch_t *fetch, exchange_t *ex)
{
    const staple_http_response_t *response = staple_http_response(ex->parser);
    staple_http_fault_e fault = staple_http_fault(ex->parser);
    staple_fetch_outcome_e outcome = STAPLE_FETCH_NOT_HTTP;

    if (fault == STAPLE_HTTP_NO_ANSWER) {
        lost(fetch, ex, APR_EOF);
        return;
    }
    if (staple_http_has_head(ex->parser) && response->status != 200) {
        answered(fetch, ex); /* nobody reads the body of an error */
        return;
    }
    if (fault == STAPLE_HTTP_BODY_TOO_LARGE) {
        outcome = STAPLE_FETCH_TOO_LARGE;
    }
    else if (fault == STAPLE_HTTP_TRUNCATED) {
        outcome = STAPLE_FETCH_TRUNCATED;
    }
    fail(fetch, ex, outcome, "the answer of %s %s", where(ex),
         staple_http_fault_text(fault));
}

static void receive(staple_fetch_t *fetch, exchange_t *ex)
{
    char bytes[8192];
    int i;

    for (i = 0; i < READS_MAX; i++) {
        apr_size_t len = sizeof(bytes);
        apr_status_t rv = apr_socket_recv(ex->conn->socket, bytes, &len);
        staple_http_state_e state;
        apr_size_t used;

        if (APR_STATUS_IS_EAGAIN(rv)) {
            return;
        }
        if (rv != APR_SUCCESS && !APR_STATUS_IS_EOF(rv)) {
            lost(fetch, ex, rv);
            return;
        }
        if (rv == APR_SUCCESS) {
            ex->heard_at = ex->heard_at ? ex->heard_at : clock_now();
            ex->received += len;
        }
        state = rv == APR_SUCCESS
              ? staple_http_feed(ex->parser, bytes, len, &used)
              : staple_http_close(ex->parser);
        if (state == STAPLE_HTTP_AT_END) {
            answered(fetch, ex);
            return;
        }
        if (state == STAPLE_HTTP_AT_FAULT) {
            spoiled(fetch, ex);
            return;
        }
        if (len < sizeof(bytes)) {
            return; /* the pollset will tell of more */
        }
    }
}

/* Write what the socket takes; whether the exchange still has it. */
static int send_rest(staple_fetch_t *fetch, exchange_t *ex)
{
    apr_status_t rv = APR_SUCCESS;

    while (rv == APR_SUCCESS && ex->sent < ex->request_len) {
        apr_size_t len = ex->request_len - ex->sent;

        rv = apr_socket_send(ex->conn->socket, ex->request + ex->sent, &len);
        ex->sent += len;
    }
    if (rv != APR_SUCCESS && !APR_STATUS_IS_EAGAIN(rv)) {
        lost(fetch, ex, rv);
        return 0;
    }
    ex->state = ex->sent < ex->request_len ? SENDING : RECEIVING;
    ex->sent_at = ex->state == RECEIVING ? clock_now() : 0;
    rv = staple_fetch_conn_watch(&fetch->conns, ex->conn, ex->state == SENDING
                                 ? APR_POLLIN | APR_POLLOUT : APR_POLLIN);
    if (rv != APR_SUCCESS) {
        fail(fetch, ex, STAPLE_FETCH_SYSTEM,
             "the connection to %s cannot be watched: %s", where(ex),
             error_text(ex, rv));
        return 0;
    }
    return 1;
}

/* The exchange has its connection: what else was tried is dropped, and the
 * request is written. */
static void begin_sending(staple_fetch_t *fetch, exchange_t *ex, conn_t *conn)
{
    staple_http_limits_t limits = staple_http_limits(fetch->conf.max_body);
    const staple_fetch_job_t *job = &ex->job->ask;
    staple_http_ask_t ask = { 0 };

    staple_fetch_conn_lend(&fetch->conns, conn, ex);
    ex->conn = conn;
    ex->attempts = 0;
    ex->connected_at = clock_now();
    apr_cpystrn(ex->peer, conn->peer, sizeof(ex->peer));
    staple_fetch_queue_note_reached(ex->site, conn->ip);

    ask.user_agent = fetch->conf.user_agent;
    ask.is_proxied = ex->site->is_proxied;
    if (ex->is_post) {
        ask.body = job->request;
        ask.body_len = job->request_len;
    }
    else {
        ask.if_none_match = job->if_none_match;
        ask.if_modified_since = job->if_modified_since;
    }
    ex->is_conditional = ask.if_none_match || ask.if_modified_since;
    ex->request = staple_http_request(&ex->url, &ask, &ex->request_len,
                                      ex->pool);
    ex->parser = staple_http_parser_create(&limits, ex->pool);
    ex->sent = ex->received = 0;
    send_rest(fetch, ex);
}

/* The error of an address that was refused tells more than that of one for
 * which there is no route. */
static void note_connect_error(exchange_t *ex, const char *ip, apr_status_t rv)
{
    if (!ex->connect_error || is_unreachable(ex->connect_error)
        || is_scarcity(ex->connect_error)) {
        ex->connect_error = rv;
        staple_fetch_conn_peer(ex->peer, ip, ex->site->port);
    }
}

/* Happy Eyeballs: start the next attempt, once those before it had their time
 * or failed. */
static void attempt(staple_fetch_t *fetch, exchange_t *ex)
{
    while (ex->next_endpoint < ex->endpoints_count) {
        const staple_fetch_endpoint_t *endpoint
            = &ex->endpoints[ex->next_endpoint];
        conn_t *conn;
        apr_status_t rv;

        if (staple_fetch_queue_is_full(&fetch->queue, ex->site,
                                       endpoint->ip)) {
            ex->next_attempt = clock_now() + RETRY_ATTEMPT;
            return;
        }
        rv = staple_fetch_conn_open(&fetch->conns, ex, endpoint,
                                    ex->site->port, &conn);
        if (is_scarcity(rv)) {
            note_connect_error(ex, endpoint->ip, rv);
            staple_fetch_conn_close_idle(&fetch->conns, clock_now());
            ex->next_attempt = clock_now() + RETRY_ATTEMPT;
            return;
        }
        ex->next_endpoint++;
        if (rv == APR_SUCCESS) {
            begin_sending(fetch, ex, conn);
            return;
        }
        if (APR_STATUS_IS_EINPROGRESS(rv)) {
            ex->attempts++;
            staple_fetch_conn_peer(ex->peer, endpoint->ip, ex->site->port);
            ex->next_attempt = clock_now() + NEXT_ATTEMPT;
            return;
        }
        note_connect_error(ex, endpoint->ip, rv);
    }
    if (!ex->attempts) {
        fail_connect(fetch, ex);
    }
}

/* An attempt that was in progress has come to its end. */
static void end_attempt(staple_fetch_t *fetch, conn_t *conn)
{
    exchange_t *ex = conn->owner;
    apr_status_t rv = staple_fetch_conn_result(conn);

    if (rv == APR_SUCCESS) {
        begin_sending(fetch, ex, conn);
        return;
    }
    note_connect_error(ex, conn->ip, rv);
    staple_fetch_conn_close(&fetch->conns, conn);
    ex->attempts--;
    attempt(fetch, ex);
}

/* The site's addresses, the one that worked last in front. */
static void take_endpoints(exchange_t *ex)
{
    const site_t *site = ex->site;
    int i;

    ex->endpoints_count = ex->next_endpoint = 0;
    for (i = 0; i < site->endpoints_count; i++) {
        if (!strcmp(site->endpoints[i].ip, site->preferred)) {
            ex->endpoints[ex->endpoints_count++] = site->endpoints[i];
        }
    }
    for (i = 0; i < site->endpoints_count; i++) {
        if (strcmp(site->endpoints[i].ip, site->preferred)) {
            ex->endpoints[ex->endpoints_count++] = site->endpoints[i];
        }
    }
}

/* Take an idle connection to one of the addresses, or make one. */
static void connect_exchange(staple_fetch_t *fetch, exchange_t *ex)
{
    char peer[STAPLE_FETCH_PEER_LEN];
    conn_t *conn = NULL;
    int i;

    take_endpoints(ex);
    ex->connect_error = APR_SUCCESS;
    ex->state = CONNECTING;
    for (i = 0; !ex->has_failed_reuse && !conn && i < ex->endpoints_count;
         i++) {
        const char *ip = ex->endpoints[i].ip;

        staple_fetch_conn_peer(peer, ip, ex->site->port);
        conn = staple_fetch_queue_is_full(&fetch->queue, ex->site, ip)
             ? NULL : staple_fetch_conn_find(&fetch->conns, peer);
    }
    if (conn) {
        begin_sending(fetch, ex, conn);
        return;
    }
    ex->next_attempt = 0;
    attempt(fetch, ex);
}

/* The site's addresses are known, if it has any that may be asked. */
static void leave_resolving(staple_fetch_t *fetch, exchange_t *ex,
                            apr_time_t now)
{
    if (!ex->site->endpoints_count) {
        fail(fetch, ex, STAPLE_FETCH_DENIED,
             "the address of %s is denied by the configuration", where(ex));
        return;
    }
    ex->resolved_at = now;
    connect_exchange(fetch, ex);
}

static void resolve(staple_fetch_t *fetch, exchange_t *ex)
{
    apr_time_t now = clock_now();
    site_t *site = ex->site;
    apr_status_t rv;

    if (staple_fetch_queue_is_resolved(site, now)) {
        leave_resolving(fetch, ex, now);
        return;
    }
    if (site->is_looked_up) {
        return;
    }
    rv = staple_fetch_dns_start(fetch->dns, site->host, site);
    site->is_looked_up = rv == APR_SUCCESS;
    if (rv != APR_SUCCESS && !APR_STATUS_IS_EAGAIN(rv)) {
        fail(fetch, ex, STAPLE_FETCH_SYSTEM,
             "no thread could be started to resolve %s", site->host);
    }
}

/* A proxy resolves names itself, so only an address can be judged here. */
static int is_denied_literal(const staple_fetch_t *fetch, const exchange_t *ex)
{
    staple_fetch_endpoint_t endpoint;

    return ex->site->is_proxied && ex->url.is_address
           && (!staple_fetch_dns_parse(&endpoint, ex->url.host)
               || !staple_fetch_queue_is_allowed(&fetch->queue, &endpoint,
                                                 ex->url.port));
}

/* Go, with a slot already held, and ask ex->url at its site. */
static void visit(staple_fetch_t *fetch, exchange_t *ex, site_t *site)
{
    site->users++;
    if (ex->site) {
        ex->site->users--;
    }
    ex->site = site;
    ex->state = RESOLVING;
    ex->has_failed_reuse = 0;
    ex->parser = NULL;
    ex->visited_at = clock_now();
    ex->resolved_at = ex->connected_at = ex->sent_at = ex->heard_at = 0;
    if (is_denied_literal(fetch, ex)) {
        fail(fetch, ex, STAPLE_FETCH_DENIED,
             "the address %s is denied by the configuration", ex->url.host);
        return;
    }
    resolve(fetch, ex);
}

/* ---- turns ---- */

static void start(staple_fetch_t *fetch, responder_t *responder,
                  apr_time_t now)
{
    job_t *job = (job_t *)staple_fetch_queue_take(&fetch->queue, responder);
    apr_pool_t *pool;
    exchange_t *ex;

    if (apr_pool_create(&pool, fetch->pool) != APR_SUCCESS) {
        pass_on_as(fetch, job, STAPLE_FETCH_SYSTEM, "out of memory");
        return;
    }
    ex = apr_pcalloc(pool, sizeof(*ex));
    ex->pool = pool;
    ex->job = job;
    ex->responder = responder;
    ex->is_probe = staple_fetch_queue_enter(&fetch->queue, responder, now);
    ex->deadline = now + job->ask.timeout;
    job->started = job->started ? job->started : now;
    APR_RING_INSERT_TAIL(&fetch->exchanges, ex, exchange_t, link);

    staple_http_url_parse(&ex->responder_url, job->ask.urls[url_index(job)],
                          pool); /* it was well formed when it was routed */
    ex->url = ex->responder_url;
    ex->can_get = staple_http_url_for_get(&ex->url, &ex->responder_url,
                                          job->ask.request,
                                          job->ask.request_len, pool);
    ex->is_post = !ex->can_get || responder->prefers_post;
    if (ex->is_post) {
        ex->url = ex->responder_url;
    }
    visit(fetch, ex, responder->site);
}

/* Put a job where it waits, or past a URL that cannot be asked. */
static void route(staple_fetch_t *fetch, job_t *job)
{
    apr_pool_t *p = fetch->scratch;
    responder_t *responder;
    staple_http_url_t url, proxy;
    staple_http_url_e reason;

    APR_RING_REMOVE(&job->waiter, link);
    apr_pool_clear(p);
    reason = staple_http_url_parse(&url, job->ask.urls[url_index(job)], p);
    if (reason != STAPLE_HTTP_URL_OK) {
        pass_on_as(fetch, job, STAPLE_FETCH_BAD_URL,
                   apr_pstrcat(p, "the URL ", staple_http_url_text(reason),
                               NULL));
        return;
    }
    if (job->ask.proxy && !parse_proxy(job, &proxy, p)) {
        pass_on_as(fetch, job, STAPLE_FETCH_BAD_URL,
                   "the proxy's URL cannot be used");
        return;
    }
    responder = staple_fetch_queue_responder(&fetch->queue, &url,
                                             job->ask.proxy ? &proxy : NULL,
                                             p);
    if (!responder) {
        pass_on_as(fetch, job, STAPLE_FETCH_SYSTEM, "out of memory");
        return;
    }
    job->waiter.has_other = job->tried + 1 < job->ask.urls_count;
    staple_fetch_queue_add(&fetch->queue, responder, &job->waiter);
}

/* The responder is left in peace: its first job has the reason of others. */
static void refuse(staple_fetch_t *fetch, responder_t *responder,
                   const failure_t *refusal)
{
    failure_t failure = *refusal;

    failure.resolve_took = failure.connect_took = failure.wait_took = -1;
    pass_on(fetch, (job_t *)staple_fetch_queue_take(&fetch->queue, responder),
            &failure, NULL);
}

/* One step towards full slots; whether there was one to take. */
static int take_turn(staple_fetch_t *fetch, apr_time_t now)
{
    const failure_t *refusal;
    responder_t *responder = staple_fetch_queue_next(&fetch->queue, now,
                                                     &refusal);

    if (refusal) {
        refuse(fetch, responder, refusal);
        return 1;
    }
    if (responder) {
        start(fetch, responder, now);
        return 1;
    }
    if (!APR_RING_EMPTY(&fetch->fresh, staple_fetch_waiter_t, link)) {
        route(fetch, (job_t *)APR_RING_FIRST(&fetch->fresh));
        return 1;
    }
    return 0;
}

/* Fill the slots; beyond that, as much as there is time for. */
static void take_turns(staple_fetch_t *fetch, apr_time_t until)
{
    int enough = fetch->conf.concurrency * 2;
    apr_time_t now = clock_now();

    while (take_turn(fetch, now) && (enough-- > 0 || now < until)) {
        now = clock_now();
    }
}

/* ---- the loop ---- */

static void fail_lookup(staple_fetch_t *fetch,
                        const staple_fetch_lookup_t *lookup)
{
    exchange_t *ex, *next;

    APR_RING_FOREACH_SAFE(ex, next, &fetch->exchanges, exchange_t, link) {
        if (ex->site == lookup->baton && ex->state == RESOLVING) {
            fail(fetch, ex, STAPLE_FETCH_NO_NAME,
                 "the name %s could not be resolved: %s", ex->site->host,
                 lookup->error ? gai_strerror(lookup->error)
                               : "it has no address");
        }
    }
}

/* What was looked up; who waited for it goes on in step_exchanges(). */
static void take_lookups(staple_fetch_t *fetch)
{
    staple_fetch_lookup_t lookup;

    while (staple_fetch_dns_take(fetch->dns, &lookup)) {
        site_t *site = lookup.baton;

        site->is_looked_up = 0;
        if (lookup.count) {
            staple_fetch_queue_set_endpoints(&fetch->queue, site,
                                             lookup.endpoints, lookup.count,
                                             clock_now());
        }
        else {
            fail_lookup(fetch, &lookup);
        }
    }
}

static void step_exchanges(staple_fetch_t *fetch)
{
    exchange_t *ex, *next;
    apr_time_t now = clock_now();

    APR_RING_FOREACH_SAFE(ex, next, &fetch->exchanges, exchange_t, link) {
        if (now >= ex->deadline) {
            expire(fetch, ex);
        }
        else if (ex->state == RESOLVING && !ex->site->is_looked_up) {
            resolve(fetch, ex);
        }
        else if (ex->state == CONNECTING && now >= ex->next_attempt
                 && ex->next_endpoint < ex->endpoints_count) {
            attempt(fetch, ex);
        }
    }
}

/* When step_exchanges() is needed next, if nothing happens before. */
static apr_time_t next_step(const staple_fetch_t *fetch, apr_time_t until)
{
    const exchange_t *ex;

    APR_RING_FOREACH(ex, &fetch->exchanges, exchange_t, link) {
        if (ex->deadline < until) {
            until = ex->deadline;
        }
        if (ex->state == CONNECTING && ex->next_attempt < until
            && ex->next_endpoint < ex->endpoints_count) {
            until = ex->next_attempt;
        }
    }
    return until;
}

static void handle_event(staple_fetch_t *fetch, const apr_pollfd_t *pfd)
{
    conn_t *conn = pfd->client_data;
    exchange_t *ex = conn->owner;

    switch (conn->state) {
    case STAPLE_FETCH_CONN_CONNECTING:
        end_attempt(fetch, conn);
        break;
    case STAPLE_FETCH_CONN_BUSY:
        if (ex->state == SENDING && !send_rest(fetch, ex)) {
            break;
        }
        if (pfd->rtnevents & ~APR_POLLOUT) {
            receive(fetch, ex);
        }
        break;
    case STAPLE_FETCH_CONN_IDLE:
        /* its peer has nothing to say to us */
        staple_fetch_conn_close(&fetch->conns, conn);
        break;
    case STAPLE_FETCH_CONN_DEAD:
        break;
    }
}

static void handle_events(staple_fetch_t *fetch, apr_interval_time_t wait)
{
    const apr_pollfd_t *events;
    apr_int32_t count = 0;
    apr_int32_t i;

    /* the pollset counts in milliseconds: less than one would be a spin */
    if (wait > 0 && wait < 1000) {
        wait = 1000;
    }
    if (apr_pollset_poll(fetch->pollset, wait, &count, &events)
        != APR_SUCCESS) {
        return; /* nothing happened, a wakeup, or a signal */
    }
    for (i = 0; i < count; i++) {
        handle_event(fetch, &events[i]);
    }
}

int staple_fetch_run(staple_fetch_t *fetch, apr_interval_time_t span)
{
    apr_time_t now = clock_now();
    apr_time_t until = now + span;
    apr_interval_time_t wait = 0;

    while (!apr_atomic_read32(&fetch->is_stopped)) {
        handle_events(fetch, wait);
        take_lookups(fetch);
        step_exchanges(fetch);
        take_turns(fetch, until);
        now = clock_now();
        staple_fetch_conn_close_idle(&fetch->conns, now - KEEPALIVE);
        staple_fetch_conn_bury(&fetch->conns);
        if (!fetch->busy || now >= until) {
            break;
        }
        wait = next_step(fetch, until) - now;
        if (wait < 0 || !APR_RING_EMPTY(&fetch->fresh, staple_fetch_waiter_t,
                                        link)) {
            wait = 0;
        }
    }
    return fetch->busy;
}

int staple_fetch_busy(const staple_fetch_t *fetch)
{
    return fetch->busy;
}

void staple_fetch_stop(staple_fetch_t *fetch)
{
    apr_atomic_set32(&fetch->is_stopped, 1);
    apr_pollset_wakeup(fetch->pollset);
}

/* ---- jobs ---- */

static apr_size_t size_of(const char *text)
{
    return text ? strlen(text) + 1 : 0;
}

static char *put_text(const char **copy, const char *text, char *to)
{
    apr_size_t size = size_of(text);

    if (size) {
        *copy = memcpy(to, text, size);
    }
    return to + size;
}

/* A copy of all that a job points to, in one block. */
static job_t *copy_job(const staple_fetch_job_t *ask)
{
    apr_size_t urls_size = (apr_size_t)ask->urls_count * sizeof(char *);
    apr_size_t size = sizeof(job_t) + urls_size + ask->request_len
                    + size_of(ask->proxy) + size_of(ask->if_none_match)
                    + size_of(ask->if_modified_since);
    const char **urls;
    job_t *job;
    char *to;
    int i;

    for (i = 0; i < ask->urls_count; i++) {
        size += size_of(ask->urls[i]);
    }
    job = calloc(1, size);
    if (!job) {
        return NULL;
    }
    urls = (const char **)(job + 1);
    to = (char *)(job + 1) + urls_size;
    job->ask = *ask;
    job->ask.urls = urls;
    for (i = 0; i < ask->urls_count; i++) {
        to = put_text(&urls[i], ask->urls[i], to);
    }
    to = put_text(&job->ask.proxy, ask->proxy, to);
    to = put_text(&job->ask.if_none_match, ask->if_none_match, to);
    to = put_text(&job->ask.if_modified_since, ask->if_modified_since, to);
    job->ask.request = memcpy(to, ask->request, ask->request_len);
    if (ask->first_url < 0 || ask->first_url >= ask->urls_count) {
        job->ask.first_url = 0;
    }
    return job;
}

apr_status_t staple_fetch_submit(staple_fetch_t *fetch,
                                 const staple_fetch_job_t *ask)
{
    job_t *job;

    if (fetch->is_destroyed) {
        return APR_EOF;
    }
    if (ask->urls_count < 1 || !ask->request || !ask->request_len
        || !ask->done) {
        return APR_EINVAL;
    }
    job = copy_job(ask);
    if (!job) {
        return APR_ENOMEM;
    }
    APR_RING_INSERT_TAIL(&fetch->fresh, &job->waiter, staple_fetch_waiter_t,
                         link);
    fetch->busy++;
    return APR_SUCCESS;
}

/* ---- life ---- */

static void end_stopped(staple_fetch_t *fetch, job_t *job)
{
    init_failure(&job->failure, job, STAPLE_FETCH_STOPPED);
    apr_cpystrn(job->failure.reason, "the server stops or restarts",
                sizeof(job->failure.reason));
    end_failed(fetch, job, NULL);
}

/* Any job that is not under way, taken out of where it waits; NULL: none. */
static job_t *take_any(staple_fetch_t *fetch)
{
    waiter_t *waiter = staple_fetch_queue_take_any(&fetch->queue);

    if (!waiter && !APR_RING_EMPTY(&fetch->fresh, staple_fetch_waiter_t,
                                   link)) {
        waiter = APR_RING_FIRST(&fetch->fresh);
        APR_RING_REMOVE(waiter, link);
    }
    return (job_t *)waiter;
}

/* Before the engine's pool goes, by destroy or with its parent: what was not
 * taken from it. Callbacks are no longer made. */
static apr_status_t cleanup(void *data)
{
    staple_fetch_t *fetch = data;
    exchange_t *ex;
    job_t *job;

    while ((job = take_any(fetch)) != NULL) {
        free(job);
    }
    APR_RING_FOREACH(ex, &fetch->exchanges, exchange_t, link) {
        free(ex->job);
    }
    staple_fetch_dns_destroy(fetch->dns);
    staple_fetch_queue_free(&fetch->queue);
    return APR_SUCCESS;
}

void staple_fetch_destroy(staple_fetch_t *fetch)
{
    job_t *job;

    fetch->is_destroyed = 1;
    while (!APR_RING_EMPTY(&fetch->exchanges, exchange_t, link)) {
        exchange_t *ex = APR_RING_FIRST(&fetch->exchanges);

        leave(fetch, ex);
        end_stopped(fetch, ex->job);
        apr_pool_destroy(ex->pool);
    }
    while ((job = take_any(fetch)) != NULL) {
        end_stopped(fetch, job);
    }
    apr_pool_destroy(fetch->pool);
}

/* A pool with an allocator of its own: nobody else takes its lock, and what
 * exchanges give back is there for the next ones. */
static apr_status_t make_pool(apr_pool_t **pool, apr_pool_t *parent)
{
    apr_allocator_t *allocator;
    apr_status_t rv;

    rv = apr_allocator_create(&allocator);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    apr_allocator_max_free_set(allocator, FREE_MAX);
    rv = apr_pool_create_ex(pool, parent, NULL, allocator);
    if (rv != APR_SUCCESS) {
        apr_allocator_destroy(allocator);
        return rv;
    }
    apr_allocator_owner_set(allocator, *pool);
    return APR_SUCCESS;
}

apr_status_t staple_fetch_create(staple_fetch_t **made,
                                 const staple_fetch_conf_t *conf,
                                 apr_pool_t *p)
{
    staple_fetch_t *fetch;
    apr_pool_t *pool;
    apr_status_t rv;

    rv = make_pool(&pool, p);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    fetch = apr_pcalloc(pool, sizeof(*fetch));
    fetch->pool = pool;
    fetch->conf = *conf;
    fetch->conf.concurrency = conf->concurrency > 1 ? conf->concurrency : 1;
    fetch->conf.user_agent = apr_pstrdup(pool, conf->user_agent);
    APR_RING_INIT(&fetch->fresh, staple_fetch_waiter_t, link);
    APR_RING_INIT(&fetch->exchanges, exchange_t, link);
    staple_fetch_queue_init(&fetch->queue, &fetch->conf, &fetch->conns, pool);
    rv = apr_pool_create(&fetch->scratch, pool);
    if (rv == APR_SUCCESS) {
        apr_uint32_t size = (apr_uint32_t)fetch->conf.concurrency
                            * (ENDPOINTS_MAX + 1) + 1;

        rv = apr_pollset_create(&fetch->pollset, size, pool,
                                APR_POLLSET_WAKEABLE);
    }
    if (rv == APR_SUCCESS) {
        staple_fetch_conn_init(&fetch->conns, pool, fetch->pollset,
                               fetch->conf.concurrency);
        fetch->dns = staple_fetch_dns_create(fetch->pollset);
        rv = fetch->dns ? APR_SUCCESS : APR_ENOMEM;
    }
    if (rv != APR_SUCCESS) {
        apr_pool_destroy(pool);
        return rv;
    }
    apr_pool_pre_cleanup_register(pool, fetch, cleanup);
    *made = fetch;
    return APR_SUCCESS;
}
