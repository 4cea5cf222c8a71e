/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * How fast the responses come in: the engine and the judge together, driven as
 * the refresh drives them, against responders on the loopback in this very
 * process. Their answers are signed beforehand, so that what is timed is ours.
 *
 *   fetch            all figures, and whether the aims are met
 *   fetch NAME...    some: slow, hung, fast, memory
 *
 * With two processors or more the client has one for itself, as the refresher
 * of a child would, and the responders have the others. Where a ratio is
 * looked for, both sides take turns and the best round of each counts: what
 * disturbs a round only ever adds.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* sched_setaffinity */
#endif

#include <stddef.h>

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <apr_general.h>
#include <apr_hash.h>
#include <apr_strings.h>

#include "staple_fetch.h"
#include "staple_http.h"
#include "staple_ocsp.h"

#include "../unit/pki.h"
#include "../unit/subject.h"

#define CONCURRENCY 32 /* the default of StapleFetchConcurrency */
#define TIMEOUT apr_time_from_sec(10)
#define ROUNDS 5
#define NEVER (-1)

static apr_pool_t *pool;

static const staple_ocsp_policy_t policy = {
    .skew = 300 * APR_USEC_PER_SEC, .max_age = -1,
    .default_age = (apr_interval_time_t)86400 * APR_USEC_PER_SEC
};

/* ---- certificates, and what is to be answered for them ---- */

typedef struct subject_t {
    staple_ocsp_subject_t *subject;
    const unsigned char *request;
    apr_size_t request_len;
    pki_der_t der;
    const char *answer;   /* the whole HTTP response */
    apr_size_t answer_len;
} subject_t;

typedef struct authority_t {
    pki_id_t ca;
    subject_t *subjects;
    int count;
    apr_hash_t *answers;  /* path of a GET -> subject_t; read-only */
} authority_t;

static void must(int is_done, const char *what)
{
    if (!is_done) {
        fprintf(stderr, "cannot %s\n", what);
        exit(1);
    }
}

static void make_answer(authority_t *authority, subject_t *s)
{
    static const char url_text[] = "http://127.0.0.1:12345/";
    staple_url_t url, get;
    char *answer;
    int len;

    must(staple_url_parse(&url, url_text, pool) == STAPLE_URL_OK
         && staple_url_for_get(&get, &url, s->request, s->request_len,
                               pool), "make a URL");
    answer = apr_palloc(pool, s->der.len + 200);
    len = snprintf(answer, 200, "HTTP/1.1 200 OK\r\nContent-Type: "
                   "application/ocsp-response\r\nContent-Length: %zu\r\n\r\n",
                   s->der.len);
    memcpy(&answer[len], s->der.bytes, s->der.len);
    s->answer = answer;
    s->answer_len = (apr_size_t)len + s->der.len;
    apr_hash_set(authority->answers, get.path, APR_HASH_KEY_STRING, s);
}

static void make_subject(authority_t *authority, subject_t *s,
                         const pki_id_t *key_of, long serial)
{
    pki_want_t want = { .name = "leaf", .issuer = &authority->ca,
                        .key_of = key_of, .serial = serial };
    pki_response_t response = { .signer = &authority->ca };
    apr_time_t now = apr_time_now();
    pki_id_t leaf = pki_make(&want, pool);

    response.singles[0].leaf = &leaf;
    response.singles[0].issuer = &authority->ca;
    response.singles[0].this_update = pki_time(now, pool);
    response.singles[0].next_update = pki_time(now + policy.default_age, pool);
    s->der = pki_respond(&response, pool);
    must(!subject_of(&s->subject, leaf.cert, authority->ca.cert, pool)
         && !staple_ocsp_request(s->subject, STAPLE_OCSP_SHA1, &s->request,
                                 &s->request_len, pool), "make a request");
    make_answer(authority, s);
}

static authority_t *make_authority(pki_key_e key_type, int count)
{
    pki_want_t want = { .name = "CA", .key_type = key_type,
                        .extensions = { PKI_CA } };
    authority_t *authority = apr_pcalloc(pool, sizeof(*authority));
    int i;

    authority->ca = pki_make(&want, pool);
    authority->count = count;
    authority->subjects = apr_pcalloc(pool, (apr_size_t)count
                                            * sizeof(subject_t));
    authority->answers = apr_hash_make(pool);
    for (i = 0; i < count; i++) {
        make_subject(authority, &authority->subjects[i], &authority->ca,
                     i + 1000);
    }
    return authority;
}

/* ---- responders ---- */

typedef struct responder_t {
    const authority_t *authority;
    int delay_ms;         /* before each answer; NEVER: there is none */
    int fd;
    const char *url;
} responder_t;

typedef struct visit_t {
    const responder_t *responder;
    int fd;
} visit_t;

static void keep_to(int is_client)
{
    apr_size_t count = (apr_size_t)sysconf(_SC_NPROCESSORS_ONLN);
    cpu_set_t set;
    apr_size_t i;

    CPU_ZERO(&set);
    for (i = is_client ? 0 : 1; i < (is_client ? 1 : count); i++) {
        CPU_SET(i, &set);
    }
    if (count > 1) {
        sched_setaffinity(0, sizeof(set), &set);
    }
}

static int answer(const visit_t *visit, char *request)
{
    const responder_t *responder = visit->responder;
    char *path = request + 4;
    const subject_t *s;

    path[strcspn(path, " ")] = '\0';
    s = apr_hash_get(responder->authority->answers, path,
                     (apr_ssize_t)strlen(path));
    must(s != NULL, "find what was asked for");
    if (responder->delay_ms == NEVER) {
        pause();
    }
    if (responder->delay_ms) {
        usleep((useconds_t)responder->delay_ms * 1000);
    }
    return send(visit->fd, s->answer, s->answer_len, MSG_NOSIGNAL)
           == (ssize_t)s->answer_len;
}

/* A client that is known to send each request at once, and no other. */
static void *serve(void *data)
{
    visit_t *visit = data;
    char request[2048];
    ssize_t len;

    keep_to(0);
    while ((len = recv(visit->fd, request, sizeof(request) - 1, 0)) > 0) {
        request[len] = '\0';
        must(!strncmp(request, "GET /", 5), "understand the request");
        if (!answer(visit, request)) {
            break;
        }
    }
    close(visit->fd);
    free(visit);
    return NULL;
}

static void detach(void *(*run)(void *), void *data)
{
    pthread_attr_t attr;
    pthread_t thread;

    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, 128 * 1024);
    must(!pthread_create(&thread, &attr, run, data), "start a thread");
    pthread_attr_destroy(&attr);
}

static void *accept_all(void *data)
{
    const responder_t *responder = data;
    int fd, on = 1;

    while ((fd = accept(responder->fd, NULL, NULL)) >= 0) {
        visit_t *visit = malloc(sizeof(*visit));

        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        visit->responder = responder;
        visit->fd = fd;
        detach(serve, visit);
    }
    return NULL;
}

static responder_t *start(const authority_t *authority, int delay_ms)
{
    responder_t *responder = apr_pcalloc(pool, sizeof(*responder));
    struct sockaddr_in at = { 0 };
    socklen_t len = sizeof(at);

    responder->authority = authority;
    responder->delay_ms = delay_ms;
    responder->fd = socket(AF_INET, SOCK_STREAM, 0);
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    must(!bind(responder->fd, (struct sockaddr *)&at, sizeof(at))
         && !listen(responder->fd, 128)
         && !getsockname(responder->fd, (struct sockaddr *)&at, &len),
         "listen");
    responder->url = apr_psprintf(pool, "http://127.0.0.1:%d/",
                                  ntohs(at.sin_port));
    detach(accept_all, responder);
    return responder;
}

static void end(responder_t *responder)
{
    shutdown(responder->fd, SHUT_RDWR);
}

/* ---- the client: what the refresh does with an answer ---- */

typedef struct tally_t {
    int good;
    int bad;
} tally_t;

typedef struct question_t {
    const subject_t *subject;
    tally_t *tally;
} question_t;

static staple_fetch_judgement_e judge(void *baton,
                                      const staple_fetch_answer_t *answer)
{
    const question_t *question = baton;
    staple_ocsp_verdict_t verdict;

    return staple_ocsp_judge(&verdict, question->subject->subject, &policy,
                             apr_time_now(), answer->body, answer->body_len)
           == STAPLE_OCSP_OK;
}

static void note(void *baton, const staple_fetch_answer_t *answer)
{
    const question_t *question = baton;

    if (answer->outcome == STAPLE_FETCH_OK) {
        question->tally->good++;
    }
    else if (answer->outcome != STAPLE_FETCH_STOPPED) {
        question->tally->bad++;
        fprintf(stderr, "%s: %s\n", answer->url, answer->reason);
    }
}

static staple_fetch_t *make_engine(void)
{
    staple_fetch_conf_t conf = { .concurrency = CONCURRENCY,
                                 .max_body = 65536,
                                 .user_agent = "bench/1" };
    staple_fetch_t *fetch;

    must(!staple_fetch_create(&fetch, &conf, pool), "make an engine");
    return fetch;
}

static void submit(staple_fetch_t *fetch, const responder_t *responder,
                   question_t *question)
{
    staple_fetch_job_t job = { 0 };

    job.urls = &responder->url;
    job.urls_count = 1;
    job.request = question->subject->request;
    job.request_len = question->subject->request_len;
    job.timeout = TIMEOUT;
    job.judge = judge;
    job.done = note;
    job.baton = question;
    must(!staple_fetch_submit(fetch, &job), "submit a job");
}

/* One certificate after the other, each to the next responder; returns when
 * so many answers are in. Seconds. */
static double ask(staple_fetch_t *fetch, responder_t *const *responders,
                  int responders_count, int certificates, int wanted)
{
    question_t *questions = calloc((size_t)certificates, sizeof(*questions));
    tally_t tally = { 0, 0 };
    apr_time_t begin = apr_time_now();
    int i;

    for (i = 0; i < certificates; i++) {
        const responder_t *responder = responders[i % responders_count];
        const authority_t *authority = responder->authority;

        questions[i].subject = &authority->subjects[i % authority->count];
        questions[i].tally = &tally;
        submit(fetch, responder, &questions[i]);
    }
    while (tally.good + tally.bad < wanted) {
        must(staple_fetch_run(fetch, apr_time_from_msec(10))
             || tally.good + tally.bad >= wanted, "get all answers");
    }
    begin = apr_time_now() - begin;
    must(!tally.bad, "get good answers");
    if (staple_fetch_busy(fetch)) {
        staple_fetch_destroy(fetch); /* while it may still tell the tally */
    }
    free(questions);
    return (double)begin / APR_USEC_PER_SEC;
}

/* ---- the figures ---- */

static authority_t *thousand;

static int show(int is_met, const char *aim)
{
    printf(" (aim: %s%s)\n", aim, is_met ? "" : "; MISSED");
    fflush(stdout);
    return !is_met;
}

/* 1,000 certificates on a responder that takes its time. */
static int bench_slow_at(int delay_ms)
{
    responder_t *responder = start(thousand, delay_ms);
    double ideal = 1000.0 * delay_ms / 1000 / (CONCURRENCY / 2);
    double aim = 1.3 * ideal + 0.2;
    double best = 0;
    int i;

    for (i = 0; i < 3; i++) {
        staple_fetch_t *fetch = make_engine();
        double took = ask(fetch, &responder, 1, 1000, 1000);

        staple_fetch_destroy(fetch);
        best = i && best < took ? best : took;
    }
    end(responder);
    printf("slow: 1,000 certificates at %d ms: %.2f s, ideal %.2f s", delay_ms,
           best, ideal);
    return show(best <= aim, apr_psprintf(pool, "%.2f s", aim));
}

static int bench_slow(void)
{
    return bench_slow_at(20) + bench_slow_at(50);
}

/* Nine responders with and without a tenth that hangs. */
static int bench_hung(void)
{
    responder_t *responders[10];
    double alone = 0, beside = 0;
    int i;

    for (i = 0; i < 10; i++) {
        responders[i] = start(thousand, i == 9 ? NEVER : 20);
    }
    for (i = 0; i < 3; i++) {
        staple_fetch_t *fetch = make_engine();
        double took = ask(fetch, responders, 9, 1800, 1800);

        staple_fetch_destroy(fetch);
        alone = i && alone < took ? alone : took;
        took = ask(make_engine(), responders, 10, 2000, 1800);
        beside = i && beside < took ? beside : took;
    }
    for (i = 0; i < 10; i++) {
        end(responders[i]);
    }
    printf("hung: 9 x 200 certificates at 20 ms: %.2f s, and %.2f s with a "
           "tenth responder that hangs: ratio %.3f", alone, beside,
           beside / alone);
    return show(beside <= 1.1 * alone, "1.1");
}

static double verify_bare(const authority_t *authority, int count)
{
    X509_STORE *store = X509_STORE_new();
    STACK_OF(X509) *extra = sk_X509_new_null();
    apr_time_t begin;
    int i;

    must(X509_STORE_add_cert(store, authority->ca.cert)
         && sk_X509_push(extra, authority->ca.cert), "make a store");
    begin = apr_time_now();
    for (i = 0; i < count; i++) {
        const subject_t *s = &authority->subjects[i % authority->count];
        const unsigned char *at = s->der.bytes;
        OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &at,
                                                    (long)s->der.len);
        OCSP_BASICRESP *basic = OCSP_response_get1_basic(response);

        must(OCSP_basic_verify(basic, extra, store, 0) == 1, "verify");
        OCSP_BASICRESP_free(basic);
        OCSP_RESPONSE_free(response);
    }
    begin = apr_time_now() - begin;
    X509_STORE_free(store);
    sk_X509_free(extra);
    return (double)begin / APR_USEC_PER_SEC;
}

/* 10,000 certificates on one that answers at once, beside the bare loop. */
static int bench_fast_with(const char *name, pki_key_e key_type)
{
    authority_t *authority = make_authority(key_type, 10000);
    responder_t *responder = start(authority, 0);
    double bare = 0, ours = 0;
    int i;

    for (i = 0; i < ROUNDS; i++) {
        staple_fetch_t *fetch = make_engine();
        double took = ask(fetch, &responder, 1, 10000, 10000);

        staple_fetch_destroy(fetch);
        ours = i && ours < took ? ours : took;
        took = verify_bare(authority, 10000);
        bare = i && bare < took ? bare : took;
    }
    end(responder);
    printf("fast: 10,000 certificates, %s: %.0f/s, bare OCSP_basic_verify "
           "%.0f/s: %.0f %%", name, 10000 / ours, 10000 / bare,
           100 * bare / ours);
    return show(bare >= 0.6 * ours, "60 %");
}

static int bench_fast(void)
{
    return bench_fast_with("P-256", PKI_EC) + bench_fast_with("RSA", PKI_RSA);
}

static long resident_kib(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    long size, pages = 0;

    if (!file || fscanf(file, "%ld %ld", &size, &pages) != 2) {
        pages = 0;
    }
    if (file) {
        fclose(file);
    }
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/* 100,000 exchanges of one engine, after those that make it as large as it
 * gets. */
static int bench_memory(void)
{
    responder_t *responder = start(thousand, 0);
    staple_fetch_t *fetch = make_engine();
    long before, after;
    int i;

    for (i = 0; i < 5; i++) {
        ask(fetch, &responder, 1, 1000, 1000);
    }
    before = resident_kib();
    for (i = 0; i < 100; i++) {
        ask(fetch, &responder, 1, 1000, 1000);
    }
    after = resident_kib();
    staple_fetch_destroy(fetch);
    end(responder);
    printf("memory: %ld KiB after 5,000 exchanges, %+ld KiB after 100,000 "
           "more", before, after - before);
    return show(after - before <= 1024, "1024 KiB");
}

static const struct {
    const char *name;
    int (*run)(void);
} benches[] = {
    { "slow", bench_slow },
    { "hung", bench_hung },
    { "fast", bench_fast },
    { "memory", bench_memory }
};

static int is_wanted(const char *name, int argc, char **argv)
{
    int i;

    for (i = 1; i < argc; i++) {
        if (!strcmp(argv[i], name)) {
            return 1;
        }
    }
    return argc < 2;
}

int main(int argc, char **argv)
{
    int missed = 0;
    apr_size_t i;

    apr_initialize();
    apr_pool_create(&pool, NULL);
    signal(SIGPIPE, SIG_IGN);
    keep_to(1);
    thousand = make_authority(PKI_EC, 1000);
    for (i = 0; i < sizeof(benches) / sizeof(benches[0]); i++) {
        if (is_wanted(benches[i].name, argc, argv)) {
            missed += benches[i].run();
        }
    }
    return missed ? 1 : 0;
}
