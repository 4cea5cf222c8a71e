/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The attempts of an exchange, see fetch/fetch_int.h for the contract. An
 * attempt is one connection to one address: it is made, the request is sent
 * over it, and the answer is received. What does not live here: what an answer
 * means (fetch/exchange.c), and in which order addresses are tried
 * (fetch/address.c).
 *
 * The one idea: no address is worth more than the others. As long as one is
 * being connected to, the next one is tried after 250 ms (RFC 8305); the first
 * connection gets the request. When that fails in any way, the next address is
 * tried at once, and when it is silent for a third of the exchange's time,
 * beside it: whichever answers first has won.
 *
 *     waiting  --next-->  connecting  -->  sending  -->  receiving  -->  answer
 *        ^                    |               |              |
 *        +- another was faster +               +--> failed <--+--> next
 *
 * Each step leads to the next one, or to the exchange's end, or it returns
 * because a peer has to be waited for. So a step is called last, and nothing
 * of the attempt is touched after it. In the file the last step comes first.
 */

#include "fetch_int.h"

#include <errno.h>
#include <string.h>

#include <apr_errno.h>
#include <apr_network_io.h>
#include <apr_strings.h>

/* RFC 8305 section 8, the Connection Attempt Delay. */
#define NEXT_ATTEMPT apr_time_from_msec(250)

/* When to look again for a descriptor or a place at a full address. */
#define RETRY_ATTEMPT apr_time_from_msec(20)

/* What a kept connection is given, where none was ever used twice. */
#define REUSE_PATIENCE apr_time_from_sec(1)

#define READS_MAX 8 /* of one connection, before others get a turn */

/* ---- reasons ---- */

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

void staple_fetch_attempt_note_error(exchange_t *ex, attempt_t *attempt,
                                     apr_status_t rv)
{
    const char *where = staple_fetch_exchange_where(ex);

    if (APR_STATUS_IS_ECONNREFUSED(rv)) {
        staple_fetch_note_failure(ex, attempt, STAPLE_FETCH_REFUSED,
                                  "connection refused: does anything listen at"
                                  " %s?", where);
    }
    else if (APR_STATUS_IS_ETIMEDOUT(rv) || APR_STATUS_IS_TIMEUP(rv)) {
        staple_fetch_note_failure(ex, attempt, STAPLE_FETCH_CONNECT_TIMEOUT,
                                  "connection timed out: is outbound traffic to"
                                  " %s allowed?", where);
    }
    else if (is_unreachable(rv)) {
        staple_fetch_note_failure(ex, attempt, STAPLE_FETCH_UNREACHABLE,
                                  "no route to %s (%s): is outbound traffic to"
                                  " it allowed?", where, error_text(ex, rv));
    }
    else if (APR_STATUS_IS_ECONNRESET(rv)) {
        staple_fetch_note_failure(ex, attempt, STAPLE_FETCH_RESET,
                                  "the connection to %s was reset at once",
                                  where);
    }
    else {
        staple_fetch_note_failure(ex, attempt, STAPLE_FETCH_SYSTEM,
                                  "no connection to %s: %s", where,
                                  error_text(ex, rv));
    }
}

/* ---- the end of an attempt ---- */

static void end_attempt(staple_fetch_t *fetch, attempt_t *attempt)
{
    if (attempt->conn) {
        staple_fetch_conn_close(&fetch->conns, attempt->conn);
        attempt->conn = NULL;
    }
}

/* Whether it has sent its request, or is at it, and waits for the answer. */
static int is_asked(const attempt_t *attempt)
{
    return attempt->conn && attempt->conn->state == STAPLE_FETCH_CONN_BUSY;
}

static void note_address_failure(attempt_t *attempt, apr_time_t now)
{
    staple_fetch_address_note_failure(&attempt->ex->site->addresses,
                                      attempt->endpoint.ip, now);
}

void staple_fetch_attempt_end_all(staple_fetch_t *fetch, exchange_t *ex,
                                  int are_failed)
{
    apr_time_t now = staple_clock_now();
    attempt_t *attempt;

    for (attempt = ex->attempts; attempt; attempt = attempt->older) {
        if (are_failed && is_asked(attempt)) {
            note_address_failure(attempt, now);
        }
        end_attempt(fetch, attempt);
    }
}

void staple_fetch_attempt_fail(staple_fetch_t *fetch, attempt_t *attempt)
{
    note_address_failure(attempt, staple_clock_now());
    end_attempt(fetch, attempt);
    staple_fetch_attempt_next(fetch, attempt->ex);
}

attempt_t *staple_fetch_attempt_furthest(const exchange_t *ex)
{
    attempt_t *attempt, *furthest = NULL;

    for (attempt = ex->attempts; attempt; attempt = attempt->older) {
        if (is_asked(attempt)
            && (!furthest || attempt->received > furthest->received)) {
            furthest = attempt;
        }
    }
    return furthest;
}

int staple_fetch_attempt_is_open(const exchange_t *ex)
{
    const attempt_t *attempt = ex->attempts;

    while (attempt && !attempt->conn) {
        attempt = attempt->older;
    }
    return attempt != NULL;
}

int staple_fetch_attempt_has_bytes(const exchange_t *ex)
{
    const attempt_t *attempt = ex->attempts;

    while (attempt && !(attempt->conn && attempt->received)) {
        attempt = attempt->older;
    }
    return attempt != NULL;
}

/* ---- addresses that wait ---- */

/* Let an address wait once more: as the next one, or as the last one. */
static void wait_again(exchange_t *ex, const staple_fetch_endpoint_t *endpoint,
                       int is_next)
{
    int i = ex->waiting_count;

    if (i == WAITING_MAX) {
        return;
    }
    ex->waiting_count++;
    while (is_next && i > ex->next_waiting) {
        ex->waiting[i] = ex->waiting[i - 1];
        i--;
    }
    ex->waiting[i] = *endpoint;
}

/* Another one was faster; should that fail, these are tried again. */
static void end_slower(staple_fetch_t *fetch, exchange_t *ex)
{
    attempt_t *attempt;

    for (attempt = ex->attempts; attempt; attempt = attempt->older) {
        if (attempt->conn && !is_asked(attempt)) {
            end_attempt(fetch, attempt);
            wait_again(ex, &attempt->endpoint, 0);
        }
    }
}

/* Whether it is a kept connection that is silent, and may be made anew. */
static int may_repeat(const attempt_t *attempt)
{
    return attempt->is_reused && is_asked(attempt) && !attempt->received
           && !attempt->ex->has_repeated;
}

int staple_fetch_attempt_is_left(const exchange_t *ex)
{
    const attempt_t *attempt;

    if (ex->state == RESOLVING) {
        return 0;
    }
    for (attempt = ex->attempts; attempt; attempt = attempt->older) {
        if (may_repeat(attempt)) {
            return 1;
        }
    }
    return ex->next_waiting < ex->waiting_count;
}

/* ---- receiving ---- */

/* The connection broke. One that was reused may have been closed just as it
 * was taken: that is no failure, and a fresh one is made, once. */
static void on_broken_connection(staple_fetch_t *fetch, attempt_t *attempt,
                                 apr_status_t rv)
{
    exchange_t *ex = attempt->ex;

    if (may_repeat(attempt)) {
        ex->has_repeated = 1;
        wait_again(ex, &attempt->endpoint, 1);
        end_attempt(fetch, attempt);
        staple_fetch_attempt_next(fetch, ex);
        return;
    }
    if (APR_STATUS_IS_EOF(rv)) {
        staple_fetch_note_failure(ex, attempt, STAPLE_FETCH_RESET,
                                  "%s closed the connection without an answer",
                                  staple_fetch_exchange_where(ex));
    }
    else {
        staple_fetch_note_failure(ex, attempt, STAPLE_FETCH_RESET,
                                  "the connection to %s broke: %s",
                                  staple_fetch_exchange_where(ex),
                                  error_text(ex, rv));
    }
    staple_fetch_attempt_fail(fetch, attempt);
}

static staple_fetch_outcome_e outcome_of(staple_http_fault_e fault)
{
    switch (fault) {
    case STAPLE_HTTP_BODY_TOO_LARGE:
        return STAPLE_FETCH_TOO_LARGE;
    case STAPLE_HTTP_TRUNCATED:
        return STAPLE_FETCH_TRUNCATED;
    default:
        return STAPLE_FETCH_NOT_HTTP;
    }
}

static void on_bad_response(staple_fetch_t *fetch, attempt_t *attempt)
{
    const staple_http_response_t *response
        = staple_http_response(attempt->parser);
    staple_http_fault_e fault = staple_http_fault(attempt->parser);

    if (fault == STAPLE_HTTP_NO_ANSWER) {
        on_broken_connection(fetch, attempt, APR_EOF);
        return;
    }
    if (staple_http_has_head(attempt->parser) && response->status != 200) {
        staple_fetch_exchange_on_response(fetch, attempt);
        return; /* nobody reads the body of an error */
    }
    staple_fetch_note_failure(attempt->ex, attempt, outcome_of(fault),
                              "the answer of %s %s",
                              staple_fetch_exchange_where(attempt->ex),
                              staple_http_fault_text(fault));
    staple_fetch_attempt_fail(fetch, attempt);
}

/* The bytes of the DER value that begins here, its header included (X.690
 * 8.1.3); 0: that cannot be told yet, or it is no SEQUENCE. */
static apr_size_t der_length(const unsigned char *bytes, apr_size_t len)
{
    apr_size_t length = 0;
    apr_size_t count, i;

    if (len < 2 || bytes[0] != 0x30) {
        return 0;
    }
    if (bytes[1] < 0x80) {
        return 2u + bytes[1];
    }
    count = bytes[1] & 0x7f;
    if (count < 1 || count > 3 || len < 2 + count) {
        return 0;
    }
    for (i = 0; i < count; i++) {
        length = length << 8 | bytes[2 + i];
    }
    return 2 + count + length;
}

/* A body whose end is not announced: an OCSP response is a SEQUENCE, which says
 * itself where it ends. What follows is not looked at, whether it has come
 * already or not; and nobody reads the body of an error. */
static staple_http_state_e end_rest(const attempt_t *attempt)
{
    const staple_http_response_t *response
        = staple_http_response(attempt->parser);
    apr_size_t length = der_length(response->body, response->body_len);

    if (response->status != 200) {
        return staple_http_close(attempt->parser);
    }
    return length && response->body_len >= length
           ? staple_http_cut(attempt->parser, length) : STAPLE_HTTP_AT_REST;
}

static void call_reading(const attempt_t *attempt, int is_reading)
{
    const staple_fetch_job_t *ask = &attempt->ex->job->ask;

    if (ask->reading) {
        ask->reading(ask->baton, is_reading);
    }
}

/* Hand over what was received, or that the peer has closed. */
static staple_http_state_e feed(attempt_t *attempt, apr_status_t rv,
                                const char *bytes, apr_size_t len)
{
    staple_http_state_e state;
    apr_size_t used;

    if (rv != APR_SUCCESS) {
        return staple_http_close(attempt->parser);
    }
    if (!attempt->received_at) {
        attempt->received_at = staple_clock_now();
    }
    attempt->received += len;
    call_reading(attempt, 1);
    state = staple_http_feed(attempt->parser, bytes, len, &used);
    call_reading(attempt, 0);
    return state == STAPLE_HTTP_AT_REST ? end_rest(attempt) : state;
}

static void receive(staple_fetch_t *fetch, attempt_t *attempt)
{
    char bytes[8192];
    int i;

    for (i = 0; i < READS_MAX; i++) {
        apr_size_t len = sizeof(bytes);
        apr_status_t rv = apr_socket_recv(attempt->conn->socket, bytes, &len);
        staple_http_state_e state;

        if (APR_STATUS_IS_EAGAIN(rv)) {
            return;
        }
        if (rv != APR_SUCCESS && !APR_STATUS_IS_EOF(rv)) {
            on_broken_connection(fetch, attempt, rv);
            return;
        }
        state = feed(attempt, rv, bytes, len);
        if (state == STAPLE_HTTP_AT_END) {
            staple_fetch_exchange_on_response(fetch, attempt);
            return;
        }
        if (state == STAPLE_HTTP_AT_FAULT) {
            on_bad_response(fetch, attempt);
            return;
        }
        if (len < sizeof(bytes)) {
            return; /* the pollset will tell of more */
        }
    }
}

/* ---- sending ---- */

/* Wait for what may happen at the connection; whether that can be done. */
static int watch_conn(staple_fetch_t *fetch, attempt_t *attempt)
{
    exchange_t *ex = attempt->ex;
    int is_sent = attempt->sent == ex->request_len;
    apr_status_t rv = staple_fetch_conn_watch(&fetch->conns, attempt->conn,
                                              is_sent ? APR_POLLIN
                                              : APR_POLLIN | APR_POLLOUT);

    if (rv == APR_SUCCESS) {
        return 1;
    }
    staple_fetch_note_failure(ex, attempt, STAPLE_FETCH_SYSTEM,
                              "the connection to %s cannot be watched: %s",
                              staple_fetch_exchange_where(ex),
                              error_text(ex, rv));
    staple_fetch_attempt_fail(fetch, attempt);
    return 0;
}

/* Write what the socket takes; whether the exchange still has it. */
static int send_rest(staple_fetch_t *fetch, attempt_t *attempt)
{
    exchange_t *ex = attempt->ex;
    apr_status_t rv = APR_SUCCESS;

    while (rv == APR_SUCCESS && attempt->sent < ex->request_len) {
        apr_size_t len = ex->request_len - attempt->sent;

        rv = apr_socket_send(attempt->conn->socket,
                             ex->request + attempt->sent, &len);
        attempt->sent += len;
    }
    if (rv != APR_SUCCESS && !APR_STATUS_IS_EAGAIN(rv)) {
        on_broken_connection(fetch, attempt, rv);
        return 0;
    }
    if (attempt->sent == ex->request_len) {
        attempt->sent_at = staple_clock_now();
        staple_fetch_exchange_set_state(fetch, ex, RECEIVING, attempt);
    }
    return watch_conn(fetch, attempt);
}

/* How long it may be silent before another address is asked beside it. */
static apr_interval_time_t patience_with(const attempt_t *attempt)
{
    const exchange_t *ex = attempt->ex;
    int is_unknown = attempt->is_reused
                     && ex->site->reuse == STAPLE_FETCH_REUSE_UNKNOWN;

    return is_unknown && REUSE_PATIENCE < ex->patience ? REUSE_PATIENCE
                                                       : ex->patience;
}

/* The attempt has its connection, and the request is written. */
static void begin_sending(staple_fetch_t *fetch, attempt_t *attempt)
{
    staple_http_limits_t limits = staple_http_limits(fetch->conf.max_body);
    exchange_t *ex = attempt->ex;

    staple_fetch_conn_lend(attempt->conn, attempt);
    attempt->is_reused = attempt->conn->is_reused;
    attempt->connected_at = staple_clock_now();
    attempt->parser = staple_http_parser_create(&limits, ex->pool);
    apr_cpystrn(ex->peer, attempt->peer, sizeof(ex->peer));
    end_slower(fetch, ex);
    ex->next_attempt = attempt->connected_at + patience_with(attempt);
    staple_fetch_queue_note_reached(ex->site);
    staple_fetch_exchange_set_state(fetch, ex, SENDING, attempt);
    send_rest(fetch, attempt);
}

void staple_fetch_attempt_go_on(staple_fetch_t *fetch, attempt_t *attempt,
                                apr_int16_t events)
{
    if (attempt->sent < attempt->ex->request_len
        && !send_rest(fetch, attempt)) {
        return;
    }
    if (events & ~APR_POLLOUT) {
        receive(fetch, attempt);
    }
}

/* ---- connecting ---- */

static attempt_t *make_attempt(exchange_t *ex,
                               const staple_fetch_endpoint_t *endpoint)
{
    attempt_t *attempt = apr_pcalloc(ex->pool, sizeof(*attempt));

    attempt->ex = ex;
    attempt->endpoint = *endpoint;
    staple_fetch_conn_peer(attempt->peer, endpoint->ip, ex->site->port);
    attempt->older = ex->attempts;
    ex->attempts = attempt;
    return attempt;
}

void staple_fetch_attempt_connected(staple_fetch_t *fetch, conn_t *conn)
{
    attempt_t *attempt = conn->owner;
    apr_status_t rv = staple_fetch_conn_result(conn);

    if (rv == APR_SUCCESS) {
        begin_sending(fetch, attempt);
        return;
    }
    staple_fetch_attempt_note_error(attempt->ex, attempt, rv);
    staple_fetch_attempt_fail(fetch, attempt);
}

/* Nothing can be opened now: try the same address again in a moment. */
static void retry_later(staple_fetch_t *fetch, exchange_t *ex)
{
    staple_fetch_conn_close_idle(&fetch->conns, staple_clock_now());
    ex->attempts = ex->attempts->older;
    ex->next_waiting--;
    ex->next_attempt = staple_clock_now() + RETRY_ATTEMPT;
}

/* Connect to an address; whether there is anything to wait for. */
static int try_address(staple_fetch_t *fetch, exchange_t *ex,
                       const staple_fetch_endpoint_t *endpoint)
{
    attempt_t *attempt = make_attempt(ex, endpoint);
    apr_status_t rv = staple_fetch_conn_open(&fetch->conns, attempt, endpoint,
                                             ex->site->port, &attempt->conn);

    if (rv == APR_SUCCESS) {
        begin_sending(fetch, attempt);
        return 1;
    }
    if (APR_STATUS_IS_EINPROGRESS(rv)) {
        apr_cpystrn(ex->peer, attempt->peer, sizeof(ex->peer));
        ex->next_attempt = staple_clock_now() + NEXT_ATTEMPT;
        return 1;
    }
    staple_fetch_attempt_note_error(ex, attempt, rv);
    if (is_scarcity(rv)) {
        retry_later(fetch, ex);
        return 1;
    }
    note_address_failure(attempt, staple_clock_now());
    return 0;
}

/* Whether the exchange has a connection to that address already, which it may
 * have once more. */
static int has_place(const exchange_t *ex,
                     const staple_fetch_endpoint_t *endpoint)
{
    const attempt_t *attempt = ex->attempts;

    while (attempt && (!attempt->conn
                       || strcmp(attempt->endpoint.ip, endpoint->ip))) {
        attempt = attempt->older;
    }
    return attempt != NULL;
}

void staple_fetch_attempt_next(staple_fetch_t *fetch, exchange_t *ex)
{
    while (ex->next_waiting < ex->waiting_count) {
        staple_fetch_endpoint_t endpoint = ex->waiting[ex->next_waiting];

        if (!has_place(ex, &endpoint)
            && staple_fetch_queue_is_full(&fetch->queue, ex->site,
                                          endpoint.ip)) {
            ex->next_attempt = staple_clock_now() + RETRY_ATTEMPT;
            return;
        }
        ex->next_waiting++;
        if (try_address(fetch, ex, &endpoint)) {
            return;
        }
    }
    if (!staple_fetch_attempt_is_open(ex)) {
        staple_fetch_exchange_without_address(fetch, ex);
    }
}

/* Those that were asked had their time. One that has sent some bytes gets as
 * much again, once; the others are silent, and come after all others from now
 * on. Whether another one is to be asked. */
static int give_up_waiting(exchange_t *ex, apr_time_t now)
{
    attempt_t *attempt;

    for (attempt = ex->attempts; attempt; attempt = attempt->older) {
        if (is_asked(attempt) && attempt->received && !ex->is_slow) {
            ex->is_slow = 1;
            ex->next_attempt = now + ex->patience;
            return 0;
        }
    }
    for (attempt = ex->attempts; attempt; attempt = attempt->older) {
        if (may_repeat(attempt)) {
            ex->has_repeated = 1;
            wait_again(ex, &attempt->endpoint, 1);
        }
        else if (is_asked(attempt)) {
            note_address_failure(attempt, now);
        }
    }
    return 1;
}

void staple_fetch_attempt_step(staple_fetch_t *fetch, exchange_t *ex,
                               apr_time_t now)
{
    if (give_up_waiting(ex, now)) {
        staple_fetch_attempt_next(fetch, ex);
    }
}

/* ---- where it begins ---- */

/* Whether the address was tried before in this visit. */
static int is_tried(const exchange_t *ex,
                    const staple_fetch_endpoint_t *endpoint)
{
    const attempt_t *attempt = ex->attempts;

    while (attempt && strcmp(attempt->endpoint.ip, endpoint->ip)) {
        attempt = attempt->older;
    }
    return attempt != NULL;
}

/* The addresses to be tried; how many, from the first, are not known to have
 * failed. */
static int take_addresses(exchange_t *ex)
{
    const addresses_t *addresses = &ex->site->addresses;
    staple_fetch_endpoint_t ordered[STAPLE_FETCH_ENDPOINTS_MAX];
    int well = staple_fetch_address_order(addresses, ordered);
    int count = 0;
    int i;

    ex->waiting_count = ex->next_waiting = 0;
    for (i = 0; i < addresses->count; i++) {
        if (!is_tried(ex, &ordered[i])) {
            ex->waiting[ex->waiting_count++] = ordered[i];
            count += i < well;
        }
    }
    return count;
}

/* Take an idle connection to one of the first addresses; whether there was
 * one. Those behind them have failed, or are only asked when these do. What
 * was kept before it was known that the site does not answer twice is left. */
static int take_kept(staple_fetch_t *fetch, exchange_t *ex, int count)
{
    int i;

    if (ex->site->reuse == STAPLE_FETCH_REUSE_FAILS) {
        return 0;
    }
    for (i = 0; i < count; i++) {
        staple_fetch_endpoint_t endpoint = ex->waiting[i];
        char peer[STAPLE_FETCH_PEER_LEN];
        conn_t *conn;

        staple_fetch_conn_peer(peer, endpoint.ip, ex->site->port);
        conn = staple_fetch_conn_find(&fetch->conns, peer);
        if (conn && !staple_fetch_queue_is_full(&fetch->queue, ex->site,
                                                endpoint.ip)) {
            memmove(&ex->waiting[i], &ex->waiting[i + 1],
                    (size_t)(--ex->waiting_count - i) * sizeof(endpoint));
            make_attempt(ex, &endpoint)->conn = conn;
            begin_sending(fetch, ex->attempts);
            return 1;
        }
    }
    return 0;
}

void staple_fetch_attempt_begin(staple_fetch_t *fetch, exchange_t *ex)
{
    int count = take_addresses(ex);

    staple_fetch_exchange_set_state(fetch, ex, CONNECTING, NULL);
    ex->next_attempt = 0;
    if (count < 1) {
        count = ex->waiting_count > 0; /* all have failed: as good as any */
    }
    if (!take_kept(fetch, ex, count)) {
        staple_fetch_attempt_next(fetch, ex);
    }
}
