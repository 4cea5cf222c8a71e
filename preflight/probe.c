/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The preflight's probe: every responder is asked once, about every
 * certificate that names it, and the answer is judged as it would be for a
 * handshake.
 *
 * The one idea: `httpd -t` runs as root, and root never parses what comes from
 * the network. So the probe is made by a child that has given up its
 * privileges as httpd's own children do; it prints what it finds and ends
 * with how many answers were no good.
 */

#include "preflight_int.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <ap_mpm.h>
#include <http_config.h>
#include <mpm_common.h>
#include <apr_portable.h>
#include <apr_signal.h>
#include <apr_strings.h>
#include <apr_thread_proc.h>

#include "staple_ocsp.h"
#include "staple_rules.h"
#include "staple_words.h"

#define SLICE apr_time_from_msec(200)

#define PROBE_MAGIC 0x50524F42u
#define QUESTION_MAGIC 0x50515545u

typedef struct probe_t {
    staple_magic_t magic;
    const staple_preflight_conf_t *conf;
    apr_pool_t *pool;
    staple_fetch_t *fetch;
    int asked, answered, bad;
    int is_terminal;
    apr_array_header_t *questions; /* question_t * */
} probe_t;

/* One certificate and one of its responders. */
typedef struct question_t {
    staple_magic_t magic;
    probe_t *probe;
    const staple_cert_t *cert;
    const char *url;
    staple_ocsp_verdict_t verdict;
    int is_judged;
    int is_bad;
    const char *words; /* what came of it */
} question_t;

static staple_fetch_judgement_e judge_body(void *baton,
                                           const staple_fetch_answer_t *answer)
{
    question_t *question = STAPLE_CAST(question_t, QUESTION_MAGIC, baton);

    question->is_judged = 1;
    if (staple_rules_is_believed(question->cert, answer->body,
                                 answer->body_len, apr_time_now(),
                                 &question->verdict)) {
        return STAPLE_FETCH_ACCEPTED;
    }
    return STAPLE_FETCH_UNREADABLE;
}

static const char *good_text(const question_t *question,
                             const staple_fetch_answer_t *answer)
{
    apr_pool_t *p = question->probe->pool;
    apr_time_t until = staple_rules_until(question->cert->policy,
                                          &question->verdict);

    return apr_psprintf(p, "%s, until %s (%s, %" APR_TIME_T_FMT " ms)",
                        staple_ocsp_status_text(question->verdict.status),
                        staple_words_time_text(until, p), answer->peer,
                        apr_time_as_msec(answer->took));
}

static const char *bad_text(const question_t *question,
                            const staple_fetch_answer_t *answer)
{
    apr_pool_t *p = question->probe->pool;

    if (answer->outcome != STAPLE_FETCH_REJECTED || !question->is_judged) {
        return apr_pstrdup(p, answer->reason);
    }
    return apr_pstrcat(p, "the response ", staple_words_rejection_text(
                              (int)question->verdict.reason,
                              (int)question->verdict.status), NULL);
}

static void show_progress(const probe_t *probe)
{
    if (probe->is_terminal) {
        printf("\r  %d of %d answered", probe->answered, probe->asked);
        fflush(stdout);
    }
}

static void on_done(void *baton, const staple_fetch_answer_t *answer)
{
    question_t *question = STAPLE_CAST(question_t, QUESTION_MAGIC, baton);
    probe_t *probe = question->probe;
    int is_good = answer->outcome == STAPLE_FETCH_OK;

    question->words = is_good ? good_text(question, answer)
                              : bad_text(question, answer);
    question->is_bad = !is_good
                       || question->verdict.status == STAPLE_OCSP_REVOKED;
    probe->bad += question->is_bad;
    probe->answered++;
    show_progress(probe);
}

static apr_status_t ask(probe_t *probe, const staple_cert_t *cert,
                        const char *url)
{
    question_t *question = apr_pcalloc(probe->pool, sizeof(*question));
    staple_fetch_job_t job;
    apr_status_t rv;

    question->magic = QUESTION_MAGIC;
    question->probe = probe;
    question->cert = cert;
    question->url = url;
    memset(&job, 0, sizeof(job));
    rv = staple_ocsp_request(cert->subject,
                             cert->policy->hash == STAPLE_CERT_HASH_SHA256
                             ? STAPLE_OCSP_SHA256 : STAPLE_OCSP_SHA1,
                             &job.request, &job.request_len, probe->pool);
    if (rv) {
        return rv;
    }
    job.urls = &question->url;
    job.urls_count = 1;
    job.proxy = cert->policy->proxy;
    job.proxy_credentials = cert->policy->proxy_credentials;
    job.timeout = cert->policy->timeout;
    job.judge = judge_body;
    job.done = on_done;
    job.baton = question;
    APR_ARRAY_PUSH(probe->questions, question_t *) = question;
    probe->asked++;
    return staple_fetch_submit(probe->fetch, &job);
}

static apr_status_t ask_all(probe_t *probe,
                            const staple_cert_registry_t *registry)
{
    const apr_array_header_t *list = staple_cert_list(registry);
    apr_status_t rv = APR_SUCCESS;
    int i, j;

    for (i = 0; !rv && i < list->nelts; i++) {
        const staple_cert_t *cert = APR_ARRAY_IDX(list, i, staple_cert_t *);

        for (j = 0; !rv && cert->subject && j < cert->urls->nelts; j++) {
            rv = ask(probe, cert, APR_ARRAY_IDX(cert->urls, j, const char *));
        }
    }
    return rv;
}

static void print_answers(const probe_t *probe)
{
    int i;

    if (probe->is_terminal) {
        printf("\r%40s\r", "");
    }
    for (i = 0; i < probe->questions->nelts; i++) {
        const question_t *question
            = APR_ARRAY_IDX(probe->questions, i, question_t *);

        printf("  %-12s %s: %s: %s\n", question->is_bad ? "!!" : "ok",
               question->cert->name, question->url, question->words);
    }
    if (!probe->asked) {
        printf("  nobody\n");
    }
}

/* In the child; returns how many answers were no good. */
static int probe_all(void *baton, apr_pool_t *p)
{
    probe_t *probe = STAPLE_CAST(probe_t, PROBE_MAGIC, baton);

    probe->pool = p;
    probe->is_terminal = isatty(STDOUT_FILENO);
    probe->questions = apr_array_make(p, 16, sizeof(question_t *));
    if (staple_fetch_create(&probe->fetch, &probe->conf->fetch, p)
        || ask_all(probe, probe->conf->registry)) {
        printf("  !!           the probe could not be made\n");
        return 1;
    }
    while (staple_fetch_run(probe->fetch, SLICE) > 0) {
        show_progress(probe);
    }
    staple_fetch_destroy(probe->fetch);
    print_answers(probe);
    return probe->bad;
}

int staple_preflight_probe(const staple_preflight_conf_t *conf, apr_pool_t *p)
{
    probe_t probe = { 0 };

    probe.magic = PROBE_MAGIC;
    probe.conf = conf;
    printf("\nAsked just now\n");
    return staple_preflight_in_child(conf->server, probe_all, &probe, p);
}
