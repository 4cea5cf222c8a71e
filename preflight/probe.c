/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The preflight's probe: every responder is asked once, about every
 * certificate that names it, and the answer is judged as it would be for a
 * handshake.
 *
 * The one idea: `httpd -t` runs as root, and root never parses what comes from
 * the network. So the probe is made by a child that has given up its
 * privileges as httpd's own children do; it says of each answer which state it
 * would put the certificate in, in the words of the status page.
 */

#include "preflight_int.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <apr_strings.h>

#include "staple_ocsp.h"
#include "staple_rules.h"
#include "staple_words.h"

#define SLICE apr_time_from_msec(200)

/* How often it is said how far the probe is where no terminal shows it. */
#define PROGRESS_SPAN apr_time_from_sec(10)

/* Of a probe_t and a question_t. */
#define PROBE_MAGIC 0x50524F42u
#define QUESTION_MAGIC 0x50515545u

typedef struct probe_t {
    staple_magic_t magic;
    const preflight_t *report;
    FILE *out;
    apr_pool_t *pool;
    staple_fetch_t *fetch;
    int asked, answered;
    int is_terminal;
    apr_time_t said; /* when progress was said last */
} probe_t;

/* One certificate and one of its responders. */
typedef struct question_t {
    staple_magic_t magic;
    probe_t *probe;
    int number; /* as they are listed */
    const staple_cert_t *cert;
    const char *url;
    staple_ocsp_verdict_t verdict;
} question_t;

/* ----- which questions ----- */

typedef void visit_fn(void *baton, const staple_cert_t *cert, const char *url);

/* The child and the parent list them in the same order. */
static void visit_questions(const preflight_t *report, visit_fn *visit,
                            void *baton)
{
    const apr_array_header_t *list = staple_cert_list(report->conf->registry);
    int i, j;

    for (i = 0; i < list->nelts; i++) {
        const staple_cert_t *cert = APR_ARRAY_IDX(list, i, staple_cert_t *);
        int is_asked = cert->subject && cert->not_after > report->now;

        for (j = 0; is_asked && j < cert->urls->nelts; j++) {
            visit(baton, cert, APR_ARRAY_IDX(cert->urls, j, const char *));
        }
    }
}

/* ----- in the child ----- */

static void show_progress(probe_t *probe)
{
    apr_time_t now = apr_time_now();

    if (!probe->is_terminal && now - probe->said < PROGRESS_SPAN) {
        return;
    }
    probe->said = now;
    fprintf(stderr, probe->is_terminal ? "\r  %d of %d have answered"
                                       : "  %d of %d have answered\n",
            probe->answered, probe->asked);
    fflush(stderr);
}

static staple_fetch_judgement_e believe(void *baton,
                                        const staple_fetch_answer_t *answer)
{
    question_t *question = STAPLE_CAST(question_t, QUESTION_MAGIC, baton);

    return staple_rules_is_believed(question->cert, answer->body,
                                    answer->body_len, apr_time_now(),
                                    &question->verdict)
           ? STAPLE_FETCH_ACCEPTED
           : staple_rules_judgement(question->verdict.reason);
}

/* As if it had been stored. */
static void hold(staple_view_t *view, const staple_ocsp_verdict_t *verdict,
                 const staple_fetch_answer_t *answer, apr_time_t now)
{
    view->der = answer->body;
    view->der_len = answer->body_len;
    view->meta.this_update = verdict->this_update;
    view->meta.next_update = verdict->next_update;
    view->meta.fetched_at = now;
    view->meta.status = (apr_uint32_t)verdict->status;
}

static void judge(staple_view_t *view, const question_t *question,
                  const staple_fetch_answer_t *answer)
{
    apr_time_t now = apr_time_now();

    memset(view, 0, sizeof(*view));
    view->cert = question->cert;
    view->policy = question->cert->policy;
    view->id = question->cert->id;
    view->host = "";
    view->has_slot = view->has_exchange = 1;
    staple_words_note(&view->exchange, answer, &question->verdict);
    view->exchange.last_attempt = now;
    if (answer->outcome == STAPLE_FETCH_OK) {
        hold(view, &question->verdict, answer, now);
    }
    else {
        view->exchange.failing = 1;
    }
    staple_report_judge(view, now);
    view->url = question->url;
    staple_report_explain(view, now, question->probe->pool);
}

static const char *words_of(const staple_view_t *view,
                            const staple_fetch_answer_t *answer, apr_pool_t *p)
{
    if (*view->cause) {
        return apr_pstrcat(p, view->cause, *answer->peer ? " (" : "",
                           answer->peer, *answer->peer ? ")" : "", NULL);
    }
    return apr_psprintf(p, "until %s (%s, %" APR_TIME_T_FMT " ms)",
                        staple_words_when_text(view->numbers.serve_until, p),
                        answer->peer, apr_time_as_msec(answer->took));
}

static void done(void *baton, const staple_fetch_answer_t *answer)
{
    const question_t *question = STAPLE_CAST(const question_t, QUESTION_MAGIC,
                                             baton);
    probe_t *probe = question->probe;
    staple_view_t view;

    judge(&view, question, answer);
    fprintf(probe->out, "%d\t%s\t%s\t%s\t%s\n", question->number,
            staple_state_name(view.state),
            words_of(&view, answer, probe->pool), view.advice.who,
            view.advice.remedy);
    probe->answered++;
    show_progress(probe);
}

static void ask(void *baton, const staple_cert_t *cert, const char *url)
{
    probe_t *probe = STAPLE_CAST(probe_t, PROBE_MAGIC, baton);
    question_t *question = apr_pcalloc(probe->pool, sizeof(*question));
    staple_fetch_job_t job;

    question->magic = QUESTION_MAGIC;
    question->probe = probe;
    question->number = probe->asked++;
    question->cert = cert;
    question->url = url;
    memset(&job, 0, sizeof(job));
    if (staple_ocsp_request(cert->subject,
                            cert->policy->hash == STAPLE_CERT_HASH_SHA256
                            ? STAPLE_OCSP_SHA256 : STAPLE_OCSP_SHA1,
                            &job.request, &job.request_len, probe->pool)) {
        return; /* it is missed among the answers */
    }
    job.urls = &question->url;
    job.urls_count = 1;
    job.proxy = cert->policy->proxy;
    job.proxy_credentials = cert->policy->proxy_credentials;
    job.timeout = cert->policy->timeout;
    job.judge = believe;
    job.done = done;
    job.baton = question;
    staple_fetch_submit(probe->fetch, &job);
}

static void probe_all(FILE *out, void *baton, apr_pool_t *p)
{
    const preflight_t *report = STAPLE_CAST(const preflight_t,
                                            PREFLIGHT_MAGIC, baton);
    probe_t probe;

    memset(&probe, 0, sizeof(probe));
    probe.magic = PROBE_MAGIC;
    probe.report = report;
    probe.out = out;
    probe.pool = p;
    probe.is_terminal = isatty(STDERR_FILENO);
    probe.said = apr_time_now();
    if (staple_fetch_create(&probe.fetch, &report->conf->fetch, p)) {
        return;
    }
    visit_questions(report, ask, &probe);
    while (staple_fetch_run(probe.fetch, SLICE) > 0) {
        show_progress(&probe);
    }
    staple_fetch_destroy(probe.fetch);
    if (probe.is_terminal) {
        fprintf(stderr, "\r%40s\r", "");
    }
}

/* ----- in the parent ----- */

static void expect(void *baton, const staple_cert_t *cert, const char *url)
{
    preflight_t *report = STAPLE_CAST(preflight_t, PREFLIGHT_MAGIC, baton);
    preflight_answer_t *answer = apr_array_push(report->answers);

    answer->cert = cert;
    answer->url = url;
    answer->state = cert->is_must_staple ? STAPLE_STATE_REFUSED
                                         : STAPLE_STATE_MISSING;
    answer->words = "it was not asked";
    answer->who = answer->remedy = "";
}

static void take_answer(preflight_t *report, const preflight_line_t *line)
{
    const char *const *field = line->fields;
    staple_state_e state = staple_state_of_name(field[1]);
    int i = atoi(field[0]);
    preflight_answer_t *answer;

    if (i < 0 || i >= report->answers->nelts || state == STAPLE_STATES) {
        return;
    }
    answer = &APR_ARRAY_IDX(report->answers, i, preflight_answer_t);
    answer->state = state;
    answer->words = field[2];
    answer->who = field[3];
    answer->remedy = field[4];
}

static void report_answer(preflight_t *report,
                          const preflight_answer_t *answer)
{
    staple_state_advice_t advice = { answer->who, answer->remedy };

    if (staple_state_needs_attention(answer->state)) {
        staple_preflight_add(
            report, apr_pstrcat(report->pool, answer->cert->name, ", ",
                                answer->url, NULL),
            apr_pstrcat(report->pool, staple_state_text(answer->state), ": ",
                        answer->words, NULL), &advice);
    }
}

void staple_preflight_probe(preflight_t *report)
{
    static const staple_state_advice_t none = { "", "" };
    apr_array_header_t *lines;
    const char *wrong;
    int i;

    report->is_probed = 1;
    wrong = staple_preflight_in_child(report->conf->server, probe_all, report,
                                      &lines, report->pool);
    if (wrong) {
        staple_preflight_add(report, "the probe", wrong, &none);
    }
    if (wrong && !lines->nelts) {
        return; /* nothing was done */
    }
    visit_questions(report, expect, report);
    for (i = 0; i < lines->nelts; i++) {
        take_answer(report, &APR_ARRAY_IDX(lines, i, preflight_line_t));
    }
    for (i = 0; i < report->answers->nelts; i++) {
        report_answer(report, &APR_ARRAY_IDX(report->answers, i,
                                             preflight_answer_t));
    }
}
