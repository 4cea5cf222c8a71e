/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * An issuer that the chain lacks: fetched from where the certificate says that
 * it is (RFC 5280 4.2.2.1, caIssuers), kept in the ring, and used from then on.
 *
 * The one idea: nobody has to be trusted for it. Whatever comes, over plain
 * HTTP or out of a file, is the issuer if its key has signed the certificate,
 * and nothing otherwise. The ring keeps it as one more record, under an id of
 * its own, so it outlives restarts as responses do.
 */

#include "refresh_int.h"

#include <string.h>

#include <apr_strings.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs7.h>

/* Certificates of an answer that are looked at. */
#define CANDIDATES_MAX 16

#define QUESTION_MAGIC 0x49515545u

/* A question for an issuer; dies with its pool. */
typedef struct question_t {
    staple_magic_t magic;
    task_t *task;
    apr_pool_t *pool;
    const unsigned char *der; /* of the issuer, once it is found */
    apr_size_t len;
} question_t;

/* ----- what has come ----- */

/* Whether a certificate is the one. */
static int try_one(question_t *question, X509 *x)
{
    task_t *task = question->task;
    unsigned char *der = NULL;
    int len = i2d_X509(x, &der);

    if (len > 0 && staple_cert_adopt_issuer(task->cert, der, (apr_size_t)len,
                                            task->refresh->pool)) {
        question->der = apr_pmemdup(question->pool, der, (apr_size_t)len);
        question->len = (apr_size_t)len;
    }
    OPENSSL_free(der);
    return question->der != NULL;
}

/* certs-only (RFC 5272 4.1): signed data without signers. */
static int try_bundle(question_t *question, const PKCS7 *bundle)
{
    const STACK_OF(X509) *list = bundle && PKCS7_type_is_signed(bundle)
                                 && bundle->d.sign ? bundle->d.sign->cert
                                                   : NULL;
    int i;

    for (i = 0; i < sk_X509_num(list) && i < CANDIDATES_MAX; i++) {
        if (try_one(question, sk_X509_value(list, i))) {
            return 1;
        }
    }
    return 0;
}

static int try_der(question_t *question, const unsigned char *body, long len)
{
    const unsigned char *at = body;
    X509 *x = d2i_X509(NULL, &at, len);
    PKCS7 *bundle = NULL;
    int is_found;

    if (!x) {
        at = body;
        bundle = d2i_PKCS7(NULL, &at, len);
    }
    is_found = x ? try_one(question, x) : try_bundle(question, bundle);
    X509_free(x);
    PKCS7_free(bundle);
    return is_found;
}

/* Blocks of PEM hold what could have come as it is. */
static int try_pem(question_t *question, const unsigned char *body, long len)
{
    BIO *bio = BIO_new_mem_buf(body, (int)len);
    int is_found = 0;
    int i;

    for (i = 0; bio && !is_found && i < CANDIDATES_MAX; i++) {
        char *name = NULL, *header = NULL;
        unsigned char *der = NULL;
        long der_len;

        if (!PEM_read_bio(bio, &name, &header, &der, &der_len)) {
            break;
        }
        is_found = try_der(question, der, der_len);
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_free(der);
    }
    BIO_free(bio);
    return is_found;
}

/* A crash meanwhile is counted against the certificate. */
static void mark(const staple_refresh_t *refresh, const staple_cert_t *cert,
                 int is_reading)
{
    const staple_refresh_conf_t *conf = &refresh->conf;

    conf->mark(conf->baton, 0, is_reading ? cert->slot : -1);
}

static void note_reading(void *baton, int is_reading)
{
    const question_t *question = STAPLE_CAST(const question_t,
                                             QUESTION_MAGIC, baton);

    mark(question->task->refresh, question->task->cert, is_reading);
}

static staple_fetch_judgement_e find_in(void *baton,
                                        const staple_fetch_answer_t *answer)
{
    question_t *question = STAPLE_CAST(question_t, QUESTION_MAGIC, baton);
    long len = (long)answer->body_len;
    int is_found;

    note_reading(question, 1);
    is_found = try_der(question, answer->body, len)
               || try_pem(question, answer->body, len);
    note_reading(question, 0);
    ERR_clear_error();
    return is_found ? STAPLE_FETCH_ACCEPTED : STAPLE_FETCH_UNUSABLE;
}

/* ----- what comes of it ----- */

static void keep(const question_t *question, apr_time_t now)
{
    const staple_cert_t *cert = question->task->cert;
    staple_cache_meta_t meta;

    memset(&meta, 0, sizeof(meta));
    meta.this_update = meta.fetched_at = now;
    meta.flags = STAPLE_RULES_IS_ISSUER;
    if (cert->issuer_slot >= 0) { /* else, and without room: fetched again */
        staple_cache_store(question->task->refresh->conf.cache,
                           cert->issuer_slot, question->der, question->len,
                           &meta);
    }
}

static void note_failure(task_t *task, const staple_fetch_answer_t *answer,
                         apr_time_t now)
{
    const staple_cert_t *cert = task->cert;
    staple_cache_t *cache = task->refresh->conf.cache;
    staple_ocsp_verdict_t verdict;
    staple_cache_state_t state;

    memset(&verdict, 0, sizeof(verdict));
    verdict.reason = STAPLE_OCSP_NO_SIGNER;
    staple_cache_state(cache, cert->slot, &state);
    staple_words_note(&state, answer, &verdict);
    state.last_attempt = now;
    state.attempts++;
    state.failures++;
    state.failing++;
    staple_refresh_set_due(task, now + staple_rules_backoff(
                                           cert->policy, cert->id,
                                           state.failing, 0,
                                           answer->retry_after));
    state.next_due = task->due;
    staple_cache_count_failure(cache, staple_state_failure(&state));
    staple_refresh_note_since(task->refresh, cert, &state, now);
    staple_cache_set_state(cache, cert->slot, &state);
    staple_refresh_log_no_issuer(task->refresh->conf.server, task, answer,
                                 (int)state.failing);
}

/* Where there is no responder, no later exchange ends the streak. */
static void forget_failure(const task_t *task, apr_time_t now)
{
    const staple_cert_t *cert = task->cert;
    staple_cache_t *cache = task->refresh->conf.cache;
    staple_cache_state_t state;

    staple_cache_state(cache, cert->slot, &state);
    state.failing = 0;
    staple_refresh_note_since(task->refresh, cert, &state, now);
    staple_cache_set_state(cache, cert->slot, &state);
}

static void on_done(void *baton, const staple_fetch_answer_t *answer)
{
    question_t *question = STAPLE_CAST(question_t, QUESTION_MAGIC, baton);
    task_t *task = question->task;
    apr_time_t now = apr_time_now();

    task->is_without_issuer = 0;
    if (answer->outcome == STAPLE_FETCH_OK) {
        keep(question, now);
        staple_refresh_log_issuer(task->refresh->conf.server, task->cert,
                                  answer->url);
        if (!task->cert->urls->nelts) {
            forget_failure(task, now);
        }
        staple_refresh_forget_files(task->refresh);
        staple_refresh_set_due(task, now);
    }
    else {
        note_failure(task, answer, now);
    }
    apr_pool_destroy(question->pool);
}

void staple_refresh_fetch_issuer(task_t *task, apr_time_t now)
{
    const staple_cert_t *cert = task->cert;
    staple_fetch_job_t job;
    question_t *question;
    apr_pool_t *p;

    apr_pool_create(&p, task->refresh->pool);
    apr_pool_tag(p, "staple_issuer");
    question = apr_pcalloc(p, sizeof(*question));
    question->magic = QUESTION_MAGIC;
    question->task = task;
    question->pool = p;
    memset(&job, 0, sizeof(job));
    job.urls = (const char *const *)cert->issuer_urls->elts;
    job.urls_count = cert->issuer_urls->nelts;
    job.proxy = cert->policy->proxy;
    job.proxy_credentials = cert->policy->proxy_credentials;
    job.timeout = cert->policy->timeout;
    job.judge = find_in;
    job.done = on_done;
    job.reading = note_reading;
    job.baton = question;
    task->is_without_issuer = 1;
    staple_refresh_replan(task);
    if (staple_fetch_submit(task->refresh->fetch, &job)) {
        task->is_without_issuer = 0;
        staple_refresh_set_due(task,
                               now + cert->policy->retry_cap + SECONDS(1));
        apr_pool_destroy(p);
    }
}

/* ----- what the ring has ----- */

/* Bytes of a file wait to be confirmed; those of memory are served. */
static void adopt(staple_refresh_t *refresh, staple_cert_t *cert)
{
    staple_cache_t *cache = refresh->conf.cache;
    int slot = cert->issuer_slot;
    staple_cache_meta_t meta;
    apr_size_t len;
    int is_pending = staple_cache_read_pending(cache, slot, refresh->buf,
                                               STAPLE_CACHE_DER_MAX, &len,
                                               &meta) == APR_SUCCESS;
    int is_it;

    if (!is_pending && staple_cache_read(cache, slot, refresh->buf,
                                         STAPLE_CACHE_DER_MAX, &len, &meta)) {
        return;
    }
    mark(refresh, cert, 1);
    is_it = meta.flags & STAPLE_RULES_IS_ISSUER
            && staple_cert_adopt_issuer(cert, refresh->buf, len,
                                        refresh->pool);
    mark(refresh, cert, 0);
    if (is_pending) {
        staple_cache_confirm(cache, slot, is_it);
    }
}

void staple_refresh_adopt_issuers(staple_refresh_t *refresh)
{
    const staple_refresh_conf_t *conf = &refresh->conf;
    const apr_array_header_t *list = staple_cert_list(conf->registry);
    int i;

    for (i = 0; i < list->nelts; i++) {
        staple_cert_t *cert = APR_ARRAY_IDX(list, i, staple_cert_t *);

        if (cert->issuer_slot < 0 || cert->subject
            || staple_refresh_is_set_aside(conf, cert)) {
            continue;
        }
        conf->beat(conf->baton); /* each takes a check of a signature */
        if (conf->is_ending(conf->baton)) {
            return;
        }
        adopt(refresh, cert);
    }
}
