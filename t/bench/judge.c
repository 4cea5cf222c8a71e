/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What a judgement costs beside the signature check that it is for:
 * staple_ocsp_judge() against parsing the response and OCSP_basic_verify()
 * with a store that holds the issuer, for each kind of key and signer. The
 * aim is a ratio of at most 1.3.
 *
 * They take turns in short rounds and the best round of each counts, so
 * that what else the machine does weighs on none. For comparison the
 * signatures alone are timed too, without parsing and without a chain.
 */

#include "staple_ocsp.h"

#include <stdio.h>
#include <stdlib.h>

#include <apr_general.h>

#include "../unit/pki.h"
#include "../unit/subject.h"

#define ROUNDS 20
#define PER_ROUND 200

typedef struct bench_t {
    pki_der_t der;
    staple_ocsp_subject_t *subject;
    pki_id_t issuer;
    X509_STORE *store;
    STACK_OF(X509) *extra; /* the issuer, where OpenSSL is to look for it */
    OCSP_BASICRESP *basic;
    X509 *delegate;          /* NULL: the issuer signed */
    STACK_OF(X509) *signers; /* of basic */
    apr_time_t now;
} bench_t;

typedef int run_fn(bench_t *b);

static const staple_ocsp_policy_t policy = {
    .skew = 300 * APR_USEC_PER_SEC, .max_age = -1,
    .default_age = (apr_interval_time_t)86400 * APR_USEC_PER_SEC
};

static int run_judge(bench_t *b)
{
    staple_ocsp_verdict_t v;

    return !staple_ocsp_judge(&v, b->subject, &policy, b->now, b->der.bytes,
                              b->der.len);
}

static OCSP_BASICRESP *read_basic(pki_der_t der)
{
    const unsigned char *at = der.bytes;
    OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &at, (long)der.len);
    OCSP_BASICRESP *basic = OCSP_response_get1_basic(response);

    OCSP_RESPONSE_free(response);
    return basic;
}

static int run_bare(bench_t *b)
{
    OCSP_BASICRESP *basic = read_basic(b->der);
    int is_good = OCSP_basic_verify(basic, b->extra, b->store, 0) == 1;

    OCSP_BASICRESP_free(basic);
    return is_good;
}

/* Nothing but the signatures, of what was parsed before. */
static int run_signatures(bench_t *b)
{
    return OCSP_basic_verify(b->basic, b->signers, NULL,
                             OCSP_NOVERIFY | OCSP_NOINTERN) == 1
           && (!b->delegate
               || X509_verify(b->delegate, b->issuer.key) == 1);
}

/* Nanoseconds for one run, over one round. */
static double time_round(run_fn *run, bench_t *b)
{
    apr_time_t begin = apr_time_now();
    int i;

    for (i = 0; i < PER_ROUND; i++) {
        if (!run(b)) {
            fprintf(stderr, "a good response was refused\n");
            exit(1);
        }
    }
    return (double)(apr_time_now() - begin) * 1000 / PER_ROUND;
}

static double compare(const char *name, bench_t *b)
{
    static run_fn *const runs[] = { run_judge, run_bare, run_signatures };
    double best[3], ns;
    int i, round;

    for (round = 0; round < ROUNDS; round++) {
        for (i = 0; i < 3; i++) {
            ns = time_round(runs[i], b);
            best[i] = round && best[i] < ns ? best[i] : ns;
        }
    }
    printf("%-16s judge %6.1f us, OCSP_basic_verify %6.1f us: ratio %.2f; "
           "signatures alone %6.1f us: ratio %.2f\n", name, best[0] / 1000,
           best[1] / 1000, best[0] / best[1], best[2] / 1000,
           best[0] / best[2]);
    return best[0] / best[1];
}

static void prepare(bench_t *b, pki_key_e key_type, int is_delegated,
                    apr_pool_t *p)
{
    pki_want_t ca = { .name = "CA", .key_type = key_type,
                      .extensions = { PKI_CA } };
    pki_want_t end = { .issuer = &b->issuer, .key_type = key_type };
    pki_response_t made = { 0 };
    pki_id_t leaf, delegate;

    b->now = apr_time_now();
    b->issuer = pki_make(&ca, p);
    end.name = "leaf";
    leaf = pki_make(&end, p);
    end.name = "delegate";
    end.extensions[0] = "extendedKeyUsage";
    end.extensions[1] = "OCSPSigning";
    delegate = pki_make(&end, p);
    made.signer = is_delegated ? &delegate : &b->issuer;
    made.included[0] = is_delegated ? &delegate : NULL;
    made.singles[0].leaf = &leaf;
    made.singles[0].issuer = &b->issuer;
    made.singles[0].this_update = pki_time(b->now, p);
    made.singles[0].next_update = pki_time(b->now + policy.default_age, p);
    b->der = pki_respond(&made, p);
    b->delegate = made.included[0] ? delegate.cert : NULL;
    b->basic = read_basic(b->der);
    b->store = X509_STORE_new();
    b->extra = sk_X509_new_null();
    b->signers = sk_X509_new_null();
    if (!X509_STORE_add_cert(b->store, b->issuer.cert)
        || !sk_X509_push(b->extra, b->issuer.cert)
        || !sk_X509_push(b->signers, made.signer->cert)
        || subject_of(&b->subject, leaf.cert, b->issuer.cert, p)) {
        abort();
    }
}

int main(void)
{
    static const struct {
        const char *name;
        pki_key_e key_type;
        int is_delegated;
    } rows[] = {
        { "RSA issuer", PKI_RSA, 0 },
        { "RSA delegate", PKI_RSA, 1 },
        { "P-256 issuer", PKI_EC, 0 },
        { "P-256 delegate", PKI_EC, 1 }
    };
    double worst = 0;
    apr_pool_t *p;
    size_t i;

    apr_initialize();
    apr_pool_create(&p, NULL);
    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        bench_t b;
        double ratio;

        prepare(&b, rows[i].key_type, rows[i].is_delegated, p);
        ratio = compare(rows[i].name, &b);
        worst = ratio > worst ? ratio : worst;
        X509_STORE_free(b.store);
        sk_X509_free(b.extra);
        sk_X509_free(b.signers);
        OCSP_BASICRESP_free(b.basic);
    }
    printf("worst ratio %.2f, aim 1.30\n", worst);
    apr_pool_destroy(p);
    apr_terminate();
    return worst <= 1.3 ? 0 : 1;
}
