/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * staplectl fetch: responses fetched without a server, by the module's own
 * engine and judged by its own rules, for whoever staples from files.
 *
 * The one idea: each certificate is an item with a due time. An item is asked
 * for when it is due, again after each failure as long as --wait lasts, and
 * ends as one of item_end_e. What is asked for and where it goes is
 * staplectl/keep.c.
 */

#include "keep.h"

#include <stdio.h>
#include <string.h>

#include <apr_strings.h>

#include "staple_clock.h"
#include "staple_deny.h"
#include "staple_fetch.h"
#include "staple_magic.h"
#include "staple_rules.h"
#include "staple_text.h"

#define CONCURRENCY 16
#define MAX_BODY ((apr_size_t)64 * 1024)

/* Somebody waits: a failed attempt is not left for longer than this. */
#define RETRY_CAP apr_time_from_sec(60)

#define SLICE apr_time_from_msec(100)

typedef struct run_t {
    staple_fetch_t *fetch;
    const staplectl_fetch_options_t *options;
} run_t;

#define QUESTION_MAGIC 0x46515545u

/* One item while it is asked for: the baton of its jobs. */
typedef struct question_t {
    staple_magic_t magic;
    run_t *run;
    item_t *item;
    apr_pool_t *pool;         /* of one attempt */
    staple_ocsp_hash_e hash;
    int is_second_hash;
    int is_judged;            /* in this attempt */
    int is_asking;
    apr_uint32_t failing;
    apr_time_t due; /* of the clock that never jumps */
    staple_ocsp_verdict_t verdict;
} question_t;

static staple_fetch_judgement_e judge_body(void *baton,
                                           const staple_fetch_answer_t *answer)
{
    question_t *question = STAPLE_CAST(question_t, QUESTION_MAGIC, baton);

    question->is_judged = 1;
    if (staple_rules_is_believed(question->item->cert, answer->body,
                                 answer->body_len, apr_time_now(),
                                 &question->verdict)) {
        return STAPLE_FETCH_ACCEPTED;
    }
    return staple_rules_judgement(question->verdict.reason);
}

static const char *why_failed(const question_t *question,
                              const staple_fetch_answer_t *answer)
{
    apr_pool_t *p = question->item->pool;
    const char *why = apr_pstrdup(p, answer->reason);

    if (answer->outcome == STAPLE_FETCH_REJECTED && question->is_judged) {
        why = question->verdict.reason == STAPLE_OCSP_OK
              ? "the responder does not know the certificate"
              : apr_pstrcat(p, "the response ",
                            staple_ocsp_reason_text(question->verdict.reason),
                            NULL);
    }
    return *answer->peer ? apr_psprintf(p, "%s (%s, asked by %s)", why,
                                        answer->peer, answer->url) : why;
}

/* ----- an attempt ----- */

static void on_done(void *baton, const staple_fetch_answer_t *answer);

static apr_status_t submit(question_t *question)
{
    const staple_cert_t *cert = question->item->cert;
    staple_fetch_job_t job;
    apr_status_t rv;

    memset(&job, 0, sizeof(job));
    rv = staple_ocsp_request(cert->subject, question->hash, &job.request,
                             &job.request_len, question->pool);
    if (rv) {
        return rv;
    }
    job.urls = (const char *const *)cert->urls->elts;
    job.urls_count = cert->urls->nelts;
    job.timeout = question->run->options->timeout;
    job.proxy = question->run->options->proxy;
    job.judge = judge_body;
    job.done = on_done;
    job.baton = question;
    return staple_fetch_submit(question->run->fetch, &job);
}

/* Some responders answer one kind of CertID only. */
static int wants_other_hash(const question_t *question,
                            const staple_fetch_answer_t *answer)
{
    return answer->outcome == STAPLE_FETCH_REJECTED && question->is_judged
           && !question->is_second_hash
           && (question->verdict.reason == STAPLE_OCSP_UNAUTHORIZED
               || question->verdict.reason == STAPLE_OCSP_MALFORMED_REQUEST);
}

static void plan_again(question_t *question,
                       const staple_fetch_answer_t *answer)
{
    const staple_cert_t *cert = question->item->cert;
    staple_cert_policy_t policy = *cert->policy;

    policy.retry_cap = RETRY_CAP;
    question->due = staple_clock_now()
                    + staple_rules_backoff(&policy, cert->id,
                                           ++question->failing, 0,
                                           answer->retry_after);
}

/* A revoked certificate is nothing to deploy, and what it staples is of no use
 * to a client. */
static void take(item_t *item, const staple_ocsp_verdict_t *verdict,
                 const staple_fetch_answer_t *answer)
{
    if (verdict->status == STAPLE_OCSP_REVOKED) {
        item->end = ITEM_REVOKED;
        return;
    }
    staplectl_keep_put(item, verdict, answer->body, answer->body_len);
}

static void on_done(void *baton, const staple_fetch_answer_t *answer)
{
    question_t *question = STAPLE_CAST(question_t, QUESTION_MAGIC, baton);

    if (wants_other_hash(question, answer)) {
        question->hash = STAPLE_OCSP_SHA256;
        question->is_second_hash = 1;
        if (submit(question) == APR_SUCCESS) {
            return;
        }
    }
    question->is_asking = 0;
    if (answer->outcome == STAPLE_FETCH_OK) {
        take(question->item, &question->verdict, answer);
        return;
    }
    question->item->why = why_failed(question, answer);
    plan_again(question, answer);
}

static void begin_attempt(question_t *question)
{
    apr_pool_clear(question->pool);
    question->hash = STAPLE_OCSP_SHA1;
    question->is_second_hash = 0;
    question->is_judged = 0;
    question->is_asking = submit(question) == APR_SUCCESS;
    if (!question->is_asking) {
        question->item->end = ITEM_FAILED;
        question->item->why = "no request can be made";
    }
}

/* ----- all of them ----- */

static int is_open(const question_t *question)
{
    return question->item->end == ITEM_OPEN;
}

/* Ask for what is due; returns when the next one is, 0: none is. */
static apr_time_t begin_due(question_t *questions, int count, apr_time_t now)
{
    apr_time_t next = 0;
    int i;

    for (i = 0; i < count; i++) {
        question_t *question = &questions[i];

        if (!is_open(question) || question->is_asking) {
            continue;
        }
        if (question->due <= now) {
            begin_attempt(question);
        }
        else if (!next || question->due < next) {
            next = question->due;
        }
    }
    return next;
}

/* Until nothing is open, or the patience is over. Each is asked for once at
 * least, and an attempt that has begun ends. */
static void ask_all(run_t *run, question_t *questions, int count)
{
    apr_time_t now = staple_clock_now(), until = now + run->options->wait;
    apr_time_t next = begin_due(questions, count, now);

    while (staple_fetch_busy(run->fetch)
           || (next && next < until && now < until)) {
        if (staple_fetch_busy(run->fetch)) {
            staple_fetch_run(run->fetch, SLICE);
        }
        else {
            apr_sleep(SLICE);
        }
        now = staple_clock_now();
        next = begin_due(questions, count, now < until ? now : 0);
    }
}

static question_t *questions_of(run_t *run, apr_array_header_t *items,
                                apr_pool_t *p)
{
    question_t *questions = apr_pcalloc(p, ((apr_size_t)items->nelts + 1)
                                           * sizeof(*questions));
    int i;

    for (i = 0; i < items->nelts; i++) {
        questions[i].magic = QUESTION_MAGIC;
        questions[i].run = run;
        questions[i].item = APR_ARRAY_IDX(items, i, item_t *);
        apr_pool_create(&questions[i].pool, p);
    }
    return questions;
}

/* No attempt will follow.
 * @param rv why none was made, where none was */
static void give_up(item_t *item, apr_status_t rv)
{
    if (item->end != ITEM_OPEN) {
        return;
    }
    item->end = ITEM_FAILED;
    if (rv) {
        item->why = apr_pstrcat(item->pool, "nobody can be asked: ",
                                staple_text_error(rv, item->pool), NULL);
    }
}

void staplectl_fetch_items(apr_array_header_t *items,
                           const staplectl_fetch_options_t *options,
                           apr_pool_t *p)
{
    staple_fetch_conf_t conf;
    run_t run = { NULL, options };
    question_t *questions = questions_of(&run, items, p);
    apr_status_t rv;
    int i;

    memset(&conf, 0, sizeof(conf));
    conf.concurrency = CONCURRENCY;
    conf.max_body = MAX_BODY;
    conf.user_agent = "staplectl/" STAPLE_VERSION;
    conf.refusal = staple_deny_reason;
    conf.refusal_baton = staple_deny_make(p);
    rv = staple_fetch_create(&run.fetch, &conf, p);
    if (rv == APR_SUCCESS) {
        ask_all(&run, questions, items->nelts);
        staple_fetch_destroy(run.fetch);
    }
    for (i = 0; i < items->nelts; i++) {
        give_up(questions[i].item, rv);
    }
}
