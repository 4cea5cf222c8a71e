/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * How an exchange ends, see fetch/fetch_int.h for the contract: it succeeds
 * or fails, and is left. What lives here: what is told of it, who is to blame,
 * and what it gives back. What does not: when it ends
 * (fetch/exchange.c), and what that means for its job
 * (fetch/job.c).
 *
 * The one idea: whatever went wrong, there is one way out, staple_fetch_fail:
 * it takes the most telling of the failures that were written down, informs the
 * circuit breakers, and passes the job on. After it the exchange is gone.
 */

#include "fetch_int.h"

#include <stdarg.h>

#include <apr_strings.h>

/* A phase, as far as both of its ends were reached. */
static apr_interval_time_t took(apr_time_t from, apr_time_t to)
{
    return from && to ? to - from : -1;
}

void staple_fetch_make_answer(const attempt_t *attempt,
                              staple_fetch_answer_t *answer)
{
    const staple_http_response_t *response
        = staple_http_response(attempt->parser);
    const exchange_t *ex = attempt->ex;
    apr_time_t now = apr_time_now();

    staple_fetch_job_init_answer(answer, ex->job);
    answer->http_status = response->status;
    answer->peer = attempt->peer;
    answer->resolve_took = took(ex->visited_at, ex->resolved_at);
    answer->connect_took = took(ex->resolved_at, attempt->connected_at);
    answer->wait_took = took(attempt->sent_at, attempt->received_at);
    answer->body = response->body;
    answer->body_len = response->body_len;
    answer->is_typed = response->is_typed;
    answer->etag = response->etag;
    answer->last_modified = response->last_modified;
    answer->retry_after = staple_http_retry_after(response, now);
    answer->fresh_for = staple_http_fresh_for(response, now);
}

/* ---- failures ---- */

/* Which of two failures tells an administrator more: an answer tells more than
 * none, and no answer more than no connection. */
static int telling(staple_fetch_outcome_e outcome)
{
    switch (outcome) {
    case STAPLE_FETCH_UNREACHABLE:
    case STAPLE_FETCH_SYSTEM:
        return 0;
    case STAPLE_FETCH_NO_NAME:
    case STAPLE_FETCH_REFUSED:
    case STAPLE_FETCH_CONNECT_TIMEOUT:
        return 1;
    case STAPLE_FETCH_REJECTED:
        return 3;
    default:
        return 2;
    }
}

/* What is told of a failure, but for the reason. */
static void init_failure(failure_t *failure, const exchange_t *ex,
                         const attempt_t *attempt,
                         staple_fetch_outcome_e outcome)
{
    staple_fetch_job_init_failure(failure, ex->job, outcome);
    apr_cpystrn(failure->peer, attempt ? attempt->peer : ex->peer,
                sizeof(failure->peer));
    failure->resolve_took = took(ex->visited_at, ex->resolved_at);
    if (attempt) {
        failure->connect_took = took(ex->resolved_at, attempt->connected_at);
        failure->wait_took = took(attempt->sent_at, attempt->received_at);
    }
    if (attempt && attempt->parser) {
        const staple_http_response_t *response
            = staple_http_response(attempt->parser);
        apr_interval_time_t after
            = staple_http_retry_after(response, apr_time_now());

        failure->http_status = response->status;
        failure->retry_at = after < 0 ? 0 : staple_clock_now() + after;
    }
}

void staple_fetch_note_failure(exchange_t *ex, attempt_t *attempt,
                               staple_fetch_outcome_e outcome,
                               const char *fmt, ...)
{
    va_list ap;

    if (ex->has_failed && telling(outcome) < telling(ex->failure.outcome)) {
        return;
    }
    init_failure(&ex->failure, ex, attempt, outcome);
    va_start(ap, fmt);
    apr_vsnprintf(ex->failure.reason, sizeof(ex->failure.reason), fmt, ap);
    va_end(ap);
    ex->has_failed = 1;
    ex->refused = outcome == STAPLE_FETCH_REJECTED ? attempt : NULL;
}

void staple_fetch_leave(staple_fetch_t *fetch, exchange_t *ex)
{
    staple_fetch_exchange_set_state(fetch, ex, ENDED, ex->attempts);
    staple_fetch_attempt_end_all(fetch, ex, 0);
    APR_RING_REMOVE(ex, link);
    ex->site->users--;
    staple_fetch_queue_leave(&fetch->queue, &ex->turn, staple_clock_now());
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
    apr_time_t now = staple_clock_now();

    if (ex->job->ask.is_probe) {
        return; /* which had little time, and says nothing new */
    }
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
        staple_fetch_queue_note_failure(ex->responder, failure,
                                        ex->job->ask.is_suspect, now);
        break;
    case STAPLE_FETCH_HTTP_STATUS:
        if (is_overload(failure->http_status)) {
            staple_fetch_queue_note_failure(ex->responder, failure,
                                            ex->job->ask.is_suspect, now);
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

void staple_fetch_fail(staple_fetch_t *fetch, exchange_t *ex)
{
    staple_fetch_answer_t answer;

    if (ex->refused) {
        staple_fetch_make_answer(ex->refused, &answer);
    }
    note_outcome(fetch, ex, &ex->failure);
    staple_fetch_leave(fetch, ex);
    staple_fetch_job_pass_on(fetch, ex->job, &ex->failure,
                             ex->refused ? &answer : NULL);
    apr_pool_destroy(ex->pool);
}

/* The responder answers again: what has sent it a question before that, and
 * has not heard a byte since, may wait for its deadline in vain. */
static void restart_silent(staple_fetch_t *fetch, const exchange_t *ex)
{
    exchange_t *other;

    APR_RING_FOREACH(other, &fetch->exchanges, exchange_t, link) {
        if (other != ex && other->responder == ex->responder) {
            other->is_overtaken = 1;
        }
    }
}

void staple_fetch_succeed(staple_fetch_t *fetch, exchange_t *ex,
                          staple_fetch_outcome_e outcome)
{
    staple_fetch_answer_t answer;

    staple_fetch_make_answer(ex->answered, &answer);
    answer.outcome = outcome;
    answer.reason = staple_fetch_outcome_text(outcome);
    staple_fetch_address_note_answer(&ex->site->addresses,
                                     ex->answered->endpoint.ip);
    if (ex->job->ask.is_probe
        || staple_fetch_queue_is_down(ex->responder)) {
        restart_silent(fetch, ex);
    }
    staple_fetch_queue_note_answer(&fetch->queue, ex->responder);
    if (ex->is_switched) {
        ex->responder->prefers_post = ex->is_post;
    }
    ex->has_failed = 0; /* another address, or method, has bettered it */
    staple_fetch_leave(fetch, ex);
    staple_fetch_job_end(fetch, ex->job, &answer);
    apr_pool_destroy(ex->pool);
}
