/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * An exchange, step by step, see fetch/fetch_int.h for the contract. What
 * lives here: going to a site, its addresses, a connection to one of them, the
 * request and the answer, and what follows from it. What does not: whose turn
 * it is (fetch/queue.c), sockets (fetch/conn.c), names
 * (fetch/dns.c), HTTP itself (pure/staple_http.c), and what an end means
 * (fetch/end.c).
 *
 * The one idea: each step leads to the next one, or to an end, or it returns
 * because a peer has to be waited for. So a step is called last, and nothing
 * of the exchange is touched after it. In the file the last step comes first.
 *
 *     visit -> resolve -> connect -> send -> receive -> on_response -> judge
 *       ^                    ^        |         |          |          |
 *       |                    +-- a kept connection was dead |          |
 *       +------------------------------- a redirect, the other method -+
 */

#include "fetch_int.h"

#include <errno.h>
#include <netdb.h>
#include <string.h>

#include <apr_errno.h>
#include <apr_network_io.h>
#include <apr_strings.h>

/* RFC 8305 section 8, the Connection Attempt Delay. */
#define NEXT_ATTEMPT apr_time_from_msec(250)

/* When to look again for a descriptor or a place at a full address. */
#define RETRY_ATTEMPT apr_time_from_msec(20)

#define REDIRECTS_MAX 3
#define READS_MAX 8 /* of one connection, before others get a turn */

/* Steps that others may lead back to. */
static void connect_exchange(staple_fetch_t *fetch, exchange_t *ex);
static void visit(staple_fetch_t *fetch, exchange_t *ex, site_t *site);

/* ---- reasons ---- */

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

/* ---- giving up ---- */

/* No address could be connected to. */
static void fail_connect(staple_fetch_t *fetch, exchange_t *ex)
{
    apr_status_t rv = ex->connect_error;

    if (APR_STATUS_IS_ECONNREFUSED(rv)) {
        staple_fetch_fail(fetch, ex, STAPLE_FETCH_REFUSED,
                          "connection refused: does anything listen at %s?",
                          where(ex));
    }
    else if (APR_STATUS_IS_ETIMEDOUT(rv) || APR_STATUS_IS_TIMEUP(rv)) {
        staple_fetch_fail(fetch, ex, STAPLE_FETCH_CONNECT_TIMEOUT,
                          "connection timed out: is outbound traffic to %s"
                          " allowed?", where(ex));
    }
    else if (is_unreachable(rv)) {
        staple_fetch_fail(fetch, ex, STAPLE_FETCH_UNREACHABLE,
                          "no route to %s (%s): is outbound traffic to it"
                          " allowed?", where(ex), error_text(ex, rv));
    }
    else if (APR_STATUS_IS_ECONNRESET(rv)) {
        staple_fetch_fail(fetch, ex, STAPLE_FETCH_RESET,
                          "the connection to %s was reset at once", where(ex));
    }
    else {
        staple_fetch_fail(fetch, ex, STAPLE_FETCH_SYSTEM,
                          "no connection to %s: %s", where(ex),
                          error_text(ex, rv));
    }
}

/* The deadline has passed; what was it waiting for? */
static void expire(staple_fetch_t *fetch, exchange_t *ex)
{
    int seconds = (int)apr_time_sec(ex->job->ask.timeout + 500000);

    if (ex->state == RESOLVING) {
        staple_fetch_fail(fetch, ex, STAPLE_FETCH_NO_NAME,
                          "the name %s was not resolved in time: do the name"
                          " servers answer?", ex->site->host);
    }
    else if (ex->state == CONNECTING && ex->attempts) {
        ex->connect_error = APR_TIMEUP;
        fail_connect(fetch, ex);
    }
    else if (ex->state == CONNECTING && ex->connect_error) {
        fail_connect(fetch, ex);
    }
    else if (ex->state == CONNECTING) {
        staple_fetch_fail(fetch, ex, STAPLE_FETCH_TIMEOUT,
                          "all connections that %s may be given are in use",
                          where(ex));
    }
    else {
        staple_fetch_fail(fetch, ex, STAPLE_FETCH_TIMEOUT,
                          "no whole answer of %s within %d s (%" APR_SIZE_T_FMT
                          " bytes came)", where(ex), seconds, ex->received);
    }
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
    use_method(ex, !ex->is_post);
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

/* RFC 9110 15.4; a POST stays one, but for 303. */
static void redirect(staple_fetch_t *fetch, exchange_t *ex,
                     const staple_http_response_t *response)
{
    const staple_url_t *through;
    staple_url_t url, proxy;
    staple_url_e reason;
    site_t *site;

    if (ex->redirects++ == REDIRECTS_MAX) {
        staple_fetch_fail(fetch, ex, STAPLE_FETCH_BAD_REDIRECT,
                          "%s redirects more than %d times", where(ex),
                          REDIRECTS_MAX);
        return;
    }
    reason = staple_url_resolve(&url, &ex->url, response->location,
                                ex->pool);
    if (reason != STAPLE_URL_OK) {
        staple_fetch_fail(fetch, ex, STAPLE_FETCH_BAD_REDIRECT,
                          "%s redirects to a URL that %s", where(ex),
                          staple_url_text(reason));
        return;
    }
    staple_fetch_job_proxy(ex->job, &proxy, &through,
                           ex->pool); /* it was good when it was routed */
    site = staple_fetch_queue_site(&fetch->queue, &url, through, ex->pool);
    if (!site) {
        staple_fetch_fail(fetch, ex, STAPLE_FETCH_SYSTEM, "out of memory");
        return;
    }
    ex->url = url;
    ex->is_post = ex->is_post && response->status != 303;
    visit(fetch, ex, site);
}

static void reject(staple_fetch_t *fetch, exchange_t *ex)
{
    staple_fetch_fail(fetch, ex, STAPLE_FETCH_REJECTED,
                      "the answer of %s was not accepted", where(ex));
}

static void ask_judge(staple_fetch_t *fetch, exchange_t *ex)
{
    staple_fetch_answer_t answer;

    staple_fetch_make_answer(ex, &answer);
    answer.reason = staple_fetch_outcome_text(STAPLE_FETCH_OK);
    if (!ex->job->ask.judge
        || ex->job->ask.judge(ex->job->ask.baton, &answer)) {
        staple_fetch_succeed(fetch, ex, STAPLE_FETCH_OK);
    }
    else {
        ex->is_rejected = 1;
        if (!switch_method(fetch, ex)) {
            reject(fetch, ex);
        }
    }
}

/* A response was read, whole unless only its status counts. */
static void on_response(staple_fetch_t *fetch, exchange_t *ex)
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
        ask_judge(fetch, ex);
    }
    else if (response->status == 304 && ex->is_conditional) {
        staple_fetch_succeed(fetch, ex, STAPLE_FETCH_NOT_MODIFIED);
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
        staple_fetch_fail(fetch, ex, STAPLE_FETCH_HTTP_STATUS,
                          "%s answered with HTTP status %d to %s", where(ex),
                          response->status, ex->is_post ? "POST" : "GET");
    }
}

/* ---- receiving ---- */

/* The connection broke. One that was reused may have been closed just as it
 * was taken: that is no failure, and a fresh one is made, once. */
static void on_broken_connection(staple_fetch_t *fetch, exchange_t *ex,
                                 apr_status_t rv)
{
    if (ex->conn->is_reused && !ex->received && !ex->has_failed_reuse) {
        staple_fetch_conn_close(&fetch->conns, ex->conn);
        ex->conn = NULL;
        ex->has_failed_reuse = 1;
        connect_exchange(fetch, ex);
    }
    else if (APR_STATUS_IS_EOF(rv)) {
        staple_fetch_fail(fetch, ex, STAPLE_FETCH_RESET,
                          "%s closed the connection without an answer",
                          where(ex));
    }
    else {
        staple_fetch_fail(fetch, ex, STAPLE_FETCH_RESET,
                          "the connection to %s broke: %s", where(ex),
                          error_text(ex, rv));
    }
}

static void on_bad_response(staple_fetch_t *fetch, exchange_t *ex)
{
    const staple_http_response_t *response = staple_http_response(ex->parser);
    staple_http_fault_e fault = staple_http_fault(ex->parser);
    staple_fetch_outcome_e outcome = STAPLE_FETCH_NOT_HTTP;

    if (fault == STAPLE_HTTP_NO_ANSWER) {
        on_broken_connection(fetch, ex, APR_EOF);
        return;
    }
    if (staple_http_has_head(ex->parser) && response->status != 200) {
        on_response(fetch, ex); /* nobody reads the body of an error */
        return;
    }
    if (fault == STAPLE_HTTP_BODY_TOO_LARGE) {
        outcome = STAPLE_FETCH_TOO_LARGE;
    }
    else if (fault == STAPLE_HTTP_TRUNCATED) {
        outcome = STAPLE_FETCH_TRUNCATED;
    }
    staple_fetch_fail(fetch, ex, outcome, "the answer of %s %s", where(ex),
                      staple_http_fault_text(fault));
}

/* Hand over what was received, or that the peer has closed. */
static staple_http_state_e feed(exchange_t *ex, apr_status_t rv,
                                const char *bytes, apr_size_t len)
{
    apr_size_t used;

    if (rv != APR_SUCCESS) {
        return staple_http_close(ex->parser);
    }
    ex->heard_at = ex->heard_at ? ex->heard_at : clock_now();
    ex->received += len;
    return staple_http_feed(ex->parser, bytes, len, &used);
}

static void receive(staple_fetch_t *fetch, exchange_t *ex)
{
    char bytes[8192];
    int i;

    for (i = 0; i < READS_MAX; i++) {
        apr_size_t len = sizeof(bytes);
        apr_status_t rv = apr_socket_recv(ex->conn->socket, bytes, &len);
        staple_http_state_e state;

        if (APR_STATUS_IS_EAGAIN(rv)) {
            return;
        }
        if (rv != APR_SUCCESS && !APR_STATUS_IS_EOF(rv)) {
            on_broken_connection(fetch, ex, rv);
            return;
        }
        state = feed(ex, rv, bytes, len);
        if (state == STAPLE_HTTP_AT_END) {
            on_response(fetch, ex);
            return;
        }
        if (state == STAPLE_HTTP_AT_FAULT) {
            on_bad_response(fetch, ex);
            return;
        }
        if (len < sizeof(bytes)) {
            return; /* the pollset will tell of more */
        }
    }
}

/* ---- the request ---- */

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
        on_broken_connection(fetch, ex, rv);
        return 0;
    }
    ex->state = ex->sent < ex->request_len ? SENDING : RECEIVING;
    ex->sent_at = ex->state == RECEIVING ? clock_now() : 0;
    rv = staple_fetch_conn_watch(&fetch->conns, ex->conn, ex->state == SENDING
                                 ? APR_POLLIN | APR_POLLOUT : APR_POLLIN);
    if (rv != APR_SUCCESS) {
        staple_fetch_fail(fetch, ex, STAPLE_FETCH_SYSTEM,
                          "the connection to %s cannot be watched: %s",
                          where(ex), error_text(ex, rv));
        return 0;
    }
    return 1;
}

static void make_request(const staple_fetch_t *fetch, exchange_t *ex)
{
    const staple_fetch_job_t *job = &ex->job->ask;
    staple_http_ask_t ask = { 0 };

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
}

/* The exchange has its connection: what else was tried is dropped, and the
 * request is written. */
static void begin_sending(staple_fetch_t *fetch, exchange_t *ex, conn_t *conn)
{
    staple_http_limits_t limits = staple_http_limits(fetch->conf.max_body);

    staple_fetch_conn_lend(&fetch->conns, conn, ex);
    ex->conn = conn;
    ex->attempts = 0;
    ex->connected_at = clock_now();
    apr_cpystrn(ex->peer, conn->peer, sizeof(ex->peer));
    staple_fetch_queue_note_reached(ex->site, conn->ip);
    make_request(fetch, ex);
    ex->parser = staple_http_parser_create(&limits, ex->pool);
    ex->sent = ex->received = 0;
    send_rest(fetch, ex);
}

/* ---- connecting ---- */

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

/* An idle connection to one of the addresses; NULL: there is none. */
static conn_t *find_kept(staple_fetch_t *fetch, const exchange_t *ex)
{
    conn_t *conn = NULL;
    int i;

    for (i = 0; !conn && i < ex->endpoints_count; i++) {
        const char *ip = ex->endpoints[i].ip;
        char peer[STAPLE_FETCH_PEER_LEN];

        if (!staple_fetch_queue_is_full(&fetch->queue, ex->site, ip)) {
            staple_fetch_conn_peer(peer, ip, ex->site->port);
            conn = staple_fetch_conn_find(&fetch->conns, peer);
        }
    }
    return conn;
}

/* Take a connection that is there, or make one. */
static void connect_exchange(staple_fetch_t *fetch, exchange_t *ex)
{
    conn_t *conn;

    take_endpoints(ex);
    ex->connect_error = APR_SUCCESS;
    ex->state = CONNECTING;
    conn = ex->has_failed_reuse ? NULL : find_kept(fetch, ex);
    if (conn) {
        begin_sending(fetch, ex, conn);
        return;
    }
    ex->next_attempt = 0;
    attempt(fetch, ex);
}

/* ---- resolving ---- */

/* The site's addresses are known, if it has any that may be asked. */
static void leave_resolving(staple_fetch_t *fetch, exchange_t *ex,
                            apr_time_t now)
{
    if (!ex->site->endpoints_count) {
        staple_fetch_fail(fetch, ex, STAPLE_FETCH_DENIED,
                          "the address of %s is denied by the configuration",
                          where(ex));
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
        staple_fetch_fail(fetch, ex, STAPLE_FETCH_SYSTEM,
                          "no thread could be started to resolve %s",
                          site->host);
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
        staple_fetch_fail(fetch, ex, STAPLE_FETCH_DENIED,
                          "the address %s is denied by the configuration",
                          ex->url.host);
        return;
    }
    resolve(fetch, ex);
}

/* ---- what the engine calls ---- */

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
    ex->is_probe = staple_fetch_queue_enter(&fetch->queue, responder, now);
    ex->deadline = now + job->ask.timeout;
    job->started = job->started ? job->started : now;
    APR_RING_INSERT_TAIL(&fetch->exchanges, ex, exchange_t, link);

    staple_url_parse(&ex->post_url, staple_fetch_job_url(job),
                     pool); /* it was well formed when it was routed */
    ex->can_get = staple_url_for_get(&ex->get_url, &ex->post_url,
                                     job->ask.request,
                                     job->ask.request_len, pool);
    use_method(ex, !ex->can_get || responder->prefers_post);
    visit(fetch, ex, responder->site);
}

/* Whether another attempt may be started beside those under way. */
static int has_attempt_left(const exchange_t *ex)
{
    return ex->state == CONNECTING && ex->next_endpoint < ex->endpoints_count;
}

void staple_fetch_exchange_step(staple_fetch_t *fetch, exchange_t *ex,
                                apr_time_t now)
{
    if (now >= ex->deadline) {
        expire(fetch, ex);
    }
    else if (ex->state == RESOLVING && !ex->site->is_looked_up) {
        resolve(fetch, ex);
    }
    else if (has_attempt_left(ex) && now >= ex->next_attempt) {
        attempt(fetch, ex);
    }
}

apr_time_t staple_fetch_exchange_next_step(const exchange_t *ex)
{
    return has_attempt_left(ex) && ex->next_attempt < ex->deadline
         ? ex->next_attempt : ex->deadline;
}

void staple_fetch_exchange_unresolved(staple_fetch_t *fetch, exchange_t *ex,
                                      int error)
{
    staple_fetch_fail(fetch, ex, STAPLE_FETCH_NO_NAME,
                      "the name %s could not be resolved: %s", ex->site->host,
                      error ? gai_strerror(error) : "it has no address");
}

void staple_fetch_exchange_end_attempt(staple_fetch_t *fetch, conn_t *conn)
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

void staple_fetch_exchange_go_on(staple_fetch_t *fetch, exchange_t *ex,
                                 apr_int16_t events)
{
    if (ex->state == SENDING && !send_rest(fetch, ex)) {
        return;
    }
    if (events & ~APR_POLLOUT) {
        receive(fetch, ex);
    }
}
