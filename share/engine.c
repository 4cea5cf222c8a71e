/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What the refresher and the share's thread both use: the requests, and whether
 * the provider works. Every function here is called with the engine's lock
 * held, and that lock is never held during a call of the provider.
 *
 * The one idea: a request is in exactly one place: queued, settling (a claim
 * that was written and is to be read once more), running, or finished. When a
 * get or a claim is too late, the refresher takes it out of its place, even
 * while its call runs, and the thread then discards the result of that call. So
 * each request is answered exactly once, and in time. A put that runs is not
 * taken from the thread.
 */

#include "share_int.h"

#include <stdlib.h>
#include <string.h>

/* ----- lists ----- */

static void append_request(list_t *list, request_t *request)
{
    request->next = NULL;
    if (list->first) {
        list->last->next = request;
    }
    else {
        list->first = request;
    }
    list->last = request;
    list->count++;
}

/* Take the first request out of a list; NULL: it is empty. */
static request_t *take_first(list_t *list)
{
    request_t *request = list->first;

    if (request) {
        list->first = request->next;
        list->count--;
    }
    return request;
}

/* Take all requests out of a list. */
static list_t take_list(list_t *list)
{
    list_t all = *list;

    list->first = NULL;
    list->count = 0;
    return all;
}

/* ----- whether the provider works ----- */

static int is_stuck(const engine_t *engine, apr_time_t now)
{
    return engine->began && now - engine->began > STAPLE_SHARE_STUCK;
}

static int is_slow(const engine_t *engine, apr_time_t now)
{
    return is_stuck(engine, now) || now < engine->retry_at;
}

static int is_silent(const engine_t *engine, apr_time_t now)
{
    return is_stuck(engine, now) || engine->failing >= STAPLE_SHARE_FAILING;
}

void staple_share_note_state(const engine_t *engine, apr_time_t now,
                             staple_share_state_t *state)
{
    *state = engine->state;
    state->is_slow = is_slow(engine, now);
    state->is_silent = is_silent(engine, now);
    if (is_stuck(engine, now)) {
        state->errors++;
        state->last_error = engine->began_date + STAPLE_SHARE_STUCK;
        state->last_status = APR_TIMEUP;
    }
}

/* ----- requests move from place to place ----- */

static void finish_request(engine_t *engine, request_t *request)
{
    if (request->answer.outcome == STAPLE_SHARE_NO_ANSWER) {
        engine->state.unanswered++;
    }
    append_request(&engine->finished, request);
    staple_wait_wake(engine->wait);
}

request_t *staple_share_take_finished(engine_t *engine)
{
    return take_list(&engine->finished).first;
}

static void enqueue(engine_t *engine, request_t *request)
{
    engine->bytes += request->op.len;
    append_request(&engine->queued, request);
    staple_wait_wake(engine->wait);
}

static request_t *dequeue(engine_t *engine)
{
    request_t *request = take_first(&engine->queued);

    if (request) {
        engine->bytes -= request->op.len;
    }
    return request;
}

static int has_room(const engine_t *engine, const request_t *request)
{
    return engine->queued.count < STAPLE_SHARE_QUEUE_MAX
           && engine->bytes + request->op.len <= STAPLE_SHARE_QUEUE_BYTES;
}

void staple_share_accept(engine_t *engine, request_t *request, apr_time_t now)
{
    if (is_slow(engine, now) || !has_room(engine, request)) {
        staple_share_refuse(engine, request);
        return;
    }
    enqueue(engine, request);
}

void staple_share_refuse(engine_t *engine, request_t *request)
{
    if (request->op.kind == PUT) {
        engine->state.dropped++;
        free(request);
        return;
    }
    finish_request(engine, request);
}

request_t *staple_share_take_next(engine_t *engine, apr_time_t now)
{
    const request_t *settling = engine->settling.first;

    return settling && settling->ready_at <= now ? take_first(&engine->settling)
                                                 : dequeue(engine);
}

/* Answer the running request without a result, unless it is a put. */
static void take_running(engine_t *engine)
{
    if (engine->running && engine->running->op.kind != PUT) {
        finish_request(engine, engine->running);
        engine->running = NULL;
    }
}

/* Refuse all requests that wait for the thread. */
static void refuse_waiting(engine_t *engine)
{
    request_t *request;

    while ((request = dequeue(engine))) {
        staple_share_refuse(engine, request);
    }
    while ((request = take_first(&engine->settling))) {
        staple_share_refuse(engine, request);
    }
}

/* Answer or drop all requests, but for a put that is running. */
static void give_up(engine_t *engine)
{
    take_running(engine);
    refuse_waiting(engine);
}

/* ----- what is too late ----- */

static apr_time_t earlier(apr_time_t a, apr_time_t b)
{
    return a < b ? a : b;
}

/* Finish the requests of a list whose deadline has passed.
 * @return the earliest deadline of the others, or NEVER */
static apr_time_t expire_list(engine_t *engine, list_t *list, apr_time_t now)
{
    list_t all = take_list(list);
    apr_time_t next = NEVER;
    request_t *request;

    while ((request = take_first(&all))) {
        if (request->deadline <= now) {
            finish_request(engine, request);
            continue;
        }
        append_request(list, request);
        next = earlier(next, request->deadline);
    }
    return next;
}

/* The same for the running request. Its call may also hang, which is the case
 * from STAPLE_SHARE_STUCK on. */
static apr_time_t expire_running(engine_t *engine, apr_time_t now)
{
    apr_time_t next = NEVER;

    if (engine->running && engine->running->deadline <= now) {
        take_running(engine);
    }
    if (engine->running) {
        next = engine->running->deadline;
    }
    return engine->began
           ? earlier(next, engine->began + STAPLE_SHARE_STUCK + 1) : next;
}

apr_time_t staple_share_expire(engine_t *engine, apr_time_t now)
{
    if (is_stuck(engine, now)) {
        give_up(engine);
        return NEVER;
    }
    return earlier(expire_running(engine, now),
                   earlier(expire_list(engine, &engine->queued, now),
                           expire_list(engine, &engine->settling, now)));
}

/* ----- a call begins, and ends ----- */

void staple_share_begin(engine_t *engine, request_t *request, apr_time_t now,
                        call_t *call)
{
    memset(call, 0, sizeof(*call));
    call->op = request->op;
    call->record = request->record;
    engine->running = request;
    engine->began = now;
    engine->began_date = apr_time_now();
}

static void note_error(engine_t *engine, apr_status_t status, apr_time_t now)
{
    int over = ++engine->failing - STAPLE_SHARE_FAILING;
    apr_interval_time_t pause = STAPLE_SHARE_PAUSE_MAX;

    engine->state.errors++;
    engine->state.last_error = apr_time_now();
    engine->state.last_status = status;
    if (over < 0) {
        return;
    }
    if (over < 6) { /* 64 times the shortest pause exceeds the longest */
        pause = STAPLE_SHARE_PAUSE_MIN << over;
    }
    engine->retry_at = now + pause;
    refuse_waiting(engine);
}

/* "Not found" does not show that the provider works: the clients of redis and
 * memcache report it for a server that is down, too. So it neither ends a row
 * of errors nor adds to it. */
static void note_health(engine_t *engine, const call_t *call, apr_time_t now)
{
    if (is_stuck(engine, now)) {
        note_error(engine, APR_TIMEUP, now);
    }
    else if (call->health == APR_SUCCESS) {
        engine->failing = 0;
    }
    else if (!APR_STATUS_IS_NOTFOUND(call->health)) {
        note_error(engine, call->health, now);
    }
}

static void count(staple_share_state_t *state, const call_t *call)
{
    if (call->op.kind == PUT && call->health) {
        state->dropped++;
    }
    else if (call->op.kind == PUT) {
        state->stored++;
    }
    else if (call->is_foreign) {
        state->foreign++;
    }
    else if (call->answer.outcome == STAPLE_SHARE_FOUND) {
        state->hits++;
    }
    else if (call->answer.outcome == STAPLE_SHARE_MISSING) {
        state->misses++;
    }
}

/* Another server may have found no claim before ours was written, and then
 * write its own, at the latest within this time. So ours is read again after
 * it. */
static void begin_settling(engine_t *engine, request_t *request, apr_time_t now,
                           apr_interval_time_t took)
{
    request->op.is_written = 1;
    request->ready_at = now + STAPLE_SHARE_SETTLE + took;
    append_request(&engine->settling, request);
}

/* Put the request of a call that has returned where it belongs next. If the
 * refresher has taken the request away meanwhile, the result is discarded. */
static void return_request(engine_t *engine, request_t *request,
                       const call_t *call, apr_time_t now,
                       apr_interval_time_t took)
{
    if (call->op.kind == PUT) {
        free(request);
    }
    else if (!engine->running) {
        free(call->der);
    }
    else if (call->has_written && !is_slow(engine, now)) {
        begin_settling(engine, request, now, took);
    }
    else {
        request->answer = call->answer;
        request->der = call->der;
        finish_request(engine, request);
    }
    engine->running = NULL;
}

void staple_share_conclude(engine_t *engine, request_t *request,
                           const call_t *call, apr_time_t now)
{
    apr_interval_time_t took = now - engine->began;

    note_health(engine, call, now);
    engine->began = 0;
    count(&engine->state, call);
    return_request(engine, request, call, now, took);
}
