/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The registry: one record for a certificate however many hosts use it, its
 * responders in order, its scope told right, and nothing hostile in any
 * string that was taken out of it.
 */

#include <apr_general.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include <openssl/bn.h>
#include <openssl/err.h>

#include "staple_cert.h"
#include "pki.h"
#include "tap.h"

static apr_pool_t *pool;
static pki_id_t ca;

static staple_cert_policy_t default_policy(void)
{
    staple_cert_policy_t policy;

    memset(&policy, 0, sizeof(policy));
    policy.times.max_age = -1;
    policy.refresh_age = -1;
    policy.response_files = apr_array_make(pool, 1, sizeof(const char *));
    return policy;
}

static const char *pair_pem(const pki_id_t *leaf, const pki_id_t *issuer)
{
    return apr_pstrcat(pool, pki_pem(leaf, pool), pki_pem(issuer, pool), NULL);
}

static staple_cert_use_t use_of(const char *id, const char *pem,
                                const char *host, int rank,
                                const staple_cert_policy_t *policy)
{
    return (staple_cert_use_t){ .id = id, .id_len = strlen(id), .pem = pem,
                                .host = host, .rank = rank,
                                .policy = policy };
}

static staple_cert_t *add_use(staple_cert_registry_t *registry,
                              staple_cert_use_t use, const char **reason)
{
    return staple_cert_add(registry, &use, reason);
}

static staple_cert_t *add(staple_cert_registry_t *registry, const char *id,
                          const pki_id_t *leaf, const char *host)
{
    staple_cert_policy_t policy = default_policy();
    const char *reason;

    return add_use(registry,
                   use_of(id, pair_pem(leaf, &ca), host, 0, &policy), &reason);
}

static pki_id_t make_leaf(const char *name, const char *const *extensions)
{
    pki_want_t want;
    int i;

    memset(&want, 0, sizeof(want));
    want.name = name;
    want.issuer = &ca;
    want.serial = 0xabcdef;
    for (i = 0; extensions && extensions[i]; i++) {
        want.extensions[i] = extensions[i];
    }
    return pki_make(&want, pool);
}

#define AIA "authorityInfoAccess"

static void test_one_record(void)
{
    static const char *const extensions[] = {
        AIA, "OCSP;URI:http://a.example/x,OCSP;URI:http://b.example/y",
        "subjectAltName", "DNS:www.example,DNS:example", PKI_MUST_STAPLE, NULL
    };
    staple_cert_registry_t *registry = staple_cert_registry_make(pool);
    pki_id_t leaf = make_leaf("ignored", extensions);
    staple_cert_t *cert = add(registry, "one", &leaf, "www.example:443");

    ok(cert != NULL, "a certificate is added");
    is_int(cert->scope, STAPLE_CERT_APPLIES, "OCSP applies to it");
    ok(cert->subject != NULL, "its CertIDs are prepared");
    is_str(cert->name, "www.example", "its name is the first DNS name");
    is_str(cert->serial, "ABCDEF", "its serial is hexadecimal");
    is_str(cert->subject_dn, "CN=ignored", "its subject is kept");
    is_int(cert->is_must_staple, 1, "must-staple is recognised");
    is_int(cert->slot, -1, "it has no slot yet");
    is_int(cert->urls->nelts, 2, "both responders are kept");
    is_str(APR_ARRAY_IDX(cert->urls, 0, const char *), "http://a.example/x",
           "the first comes first");
    is_int(apr_time_sec(cert->not_after), 2398377600,
           "notAfter is 2046-01-01");

    ok(add(registry, "one", &leaf, "example:443") == cert,
       "a second host shares the record");
    add(registry, "one", &leaf, "example:443");
    staple_cert_registry_finish(registry);
    is_int(cert->hosts->nelts, 2, "a host that comes again is no third");
    is_int(staple_cert_list(registry)->nelts, 1, "there is one record");
    ok(staple_cert_find(registry, "one", 3) == cert, "it is found by its id");
    ok(!staple_cert_find(registry, "two", 3), "another id is not found");
    ok(!ERR_peek_error(), "OpenSSL's error queue is empty");
}

static void test_ids(void)
{
    staple_cert_registry_t *registry = staple_cert_registry_make(pool);
    pki_id_t leaf = make_leaf("id", NULL);
    const char *long_a = "0123456789012345678901234567890123456789a";
    const char *long_b = "0123456789012345678901234567890123456789b";
    staple_cert_t *a = add(registry, long_a, &leaf, "a:443");
    staple_cert_t *b = add(registry, long_b, &leaf, "b:443");

    ok(a && b && a != b, "ids that differ after 32 bytes are two");
    ok(staple_cert_find(registry, long_a, strlen(long_a)) == a,
       "a long id is found");
}

static const struct scope_case_t {
    const char *name;
    const char *extensions[5]; /* up to the first NULL */
    staple_cert_scope_e scope;
    int urls, refused;
} scope_cases[] = {
    { "one responder", { AIA, "OCSP;URI:http://a.example/" },
      STAPLE_CERT_APPLIES, 1, 0 },
    { "no AIA", { NULL }, STAPLE_CERT_NO_RESPONDER, 0, 0 },
    { "only caIssuers", { AIA, "caIssuers;URI:http://a.example/" },
      STAPLE_CERT_NO_RESPONDER, 0, 0 },
    { "noRevAvail", { AIA, "OCSP;URI:http://a.example/", "2.5.29.56",
                      "DER:0500" }, STAPLE_CERT_NO_REV_AVAIL, 1, 0 },
    { "a URI with a line end",
      { AIA, "OCSP;URI:http://a.example/\r\nX: y" },
      STAPLE_CERT_NO_RESPONDER, 0, 1 },
    { "a URI with markup", { AIA, "OCSP;URI:http://a.example/<script>" },
      STAPLE_CERT_NO_RESPONDER, 0, 1 },
    { "a URI with a blank beside a good one",
      { AIA, "OCSP;URI:http://a b/,OCSP;URI:http://c.example/" },
      STAPLE_CERT_APPLIES, 1, 1 },
};

static void test_scopes(void)
{
    apr_size_t i;

    for (i = 0; i < sizeof(scope_cases) / sizeof(*scope_cases); i++) {
        const struct scope_case_t *c = &scope_cases[i];
        staple_cert_registry_t *registry = staple_cert_registry_make(pool);
        pki_id_t leaf = make_leaf("scope", c->extensions);
        staple_cert_t *cert = add(registry, "x", &leaf, "x:443");

        ok(cert && cert->scope == c->scope && cert->urls->nelts == c->urls
           && cert->urls_refused == c->refused
           && (cert->subject != NULL) == (c->scope == STAPLE_CERT_APPLIES
                                          || c->scope
                                             == STAPLE_CERT_NO_RESPONDER),
           "scope: %s", c->name);
    }
}

static void test_self_signed(void)
{
    pki_want_t want = { .name = "self", .serial = 1,
                        .extensions = { "keyUsage",
                                        "critical,digitalSignature" } };
    pki_want_t namesake = { .name = "test CA", .serial = 2, .issuer = &ca,
                            .extensions = { AIA,
                                            "OCSP;URI:http://a.example/" } };
    staple_cert_registry_t *registry = staple_cert_registry_make(pool);
    pki_id_t leaf = pki_make(&want, pool);
    pki_id_t issued = pki_make(&namesake, pool);
    staple_cert_t *cert = add(registry, "self", &ca, "self:443");

    ok(cert && cert->scope == STAPLE_CERT_SELF_SIGNED,
       "a self-signed certificate is told apart");
    cert = add(registry, "leaf", &leaf, "leaf:443");
    ok(cert && cert->scope == STAPLE_CERT_SELF_SIGNED,
       "so is one whose key may not sign certificates");
    cert = add(registry, "namesake", &issued, "namesake:443");
    ok(cert && cert->scope == STAPLE_CERT_APPLIES,
       "one with its issuer's name and another key is not self-signed");
}

/* Two CAs of one name, and the chain has the wrong one: told by the identifiers
 * of the keys, and where there are none by the signature. */
static void test_wrong_issuer(void)
{
    pki_want_t twin = { .name = "test CA", .serial = 1,
                        .extensions = { PKI_CA, "subjectKeyIdentifier",
                                        "hash" } };
    pki_want_t plain = { .name = "test CA", .serial = 1,
                         .extensions = { PKI_CA } };
    pki_id_t right = pki_make(&twin, pool), wrong = pki_make(&twin, pool);
    pki_id_t unnamed = pki_make(&plain, pool);
    pki_want_t want = { .name = "leaf", .serial = 2, .issuer = &right,
        .extensions = { AIA, "OCSP;URI:http://a.example/",
                        "authorityKeyIdentifier", "keyid" } };
    pki_id_t leaf = pki_make(&want, pool);
    staple_cert_registry_t *registry = staple_cert_registry_make(pool);
    staple_cert_policy_t policy = default_policy();
    const struct {
        const char *id;
        const pki_id_t *issuer;
        staple_cert_scope_e scope;
    } rows[] = {
        { "right", &right, STAPLE_CERT_APPLIES },
        { "wrong", &wrong, STAPLE_CERT_WRONG_ISSUER },
        { "unnamed", &unnamed, STAPLE_CERT_WRONG_ISSUER }
    };
    const char *reason;
    apr_size_t i;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        staple_cert_t *cert = add_use(registry,
                                      use_of(rows[i].id, pair_pem(&leaf,
                                             rows[i].issuer), "h:443", 0,
                                             &policy),
                                      &reason);

        ok(cert && cert->scope == rows[i].scope, "the issuer: %s", rows[i].id);
    }
}

/* Several hosts have the certificate, and only one has the right issuer. */
static void test_issuer_of_another_host(void)
{
    pki_want_t plain = { .name = "twin CA", .serial = 1,
                         .extensions = { PKI_CA } };
    pki_id_t right = pki_make(&plain, pool), wrong = pki_make(&plain, pool);
    pki_want_t want = { .name = "leaf", .serial = 2, .issuer = &right,
        .extensions = { AIA, "OCSP;URI:http://a.example/,"
                             "caIssuers;URI:http://a.example/" } };
    pki_id_t leaf = pki_make(&want, pool);
    staple_cert_policy_t policy = default_policy();
    const struct {
        const char *what;
        const pki_id_t *first, *second;
        staple_cert_scope_e before;
    } rows[] = {
        { "wrong, right", &wrong, &right, STAPLE_CERT_WRONG_ISSUER },
        { "right, wrong", &right, &wrong, STAPLE_CERT_APPLIES },
        { "none, right", &leaf, &right, STAPLE_CERT_NO_ISSUER },
        { "right, none", &right, &leaf, STAPLE_CERT_APPLIES }
    };
    const char *reason;
    apr_size_t i;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        staple_cert_registry_t *registry = staple_cert_registry_make(pool);
        staple_cert_t *cert = add_use(
            registry, use_of("x", pair_pem(&leaf, rows[i].first), "a:443", 1,
                             &policy), &reason);

        ok(cert && cert->scope == rows[i].before
           && staple_cert_lacks_issuer(cert) == !cert->subject,
           "issuers of two hosts: %s: the first", rows[i].what);
        cert = add_use(registry,
                       use_of("x", pair_pem(&leaf, rows[i].second), "b:443", 0,
                              &policy), &reason);
        ok(cert && cert->scope == STAPLE_CERT_APPLIES && cert->subject
           && !cert->leaf && !cert->issuer_urls->nelts
           && !staple_cert_lacks_issuer(cert), "... both");
    }
}

static const char *ten_of(const char *uri)
{
    return apr_pstrcat(pool, uri, ",", uri, ",", uri, ",", uri, ",", uri, ",",
                       uri, ",", uri, ",", uri, ",", uri, ",", uri, NULL);
}

/* The URI is repeated; what is behind the eighth is left out. */
static void test_bounds(void)
{
    const char *uri = "OCSP;URI:http://a.example/";
    const char *many = apr_pstrcat(pool, ten_of(uri), ",",
                                   ten_of("caIssuers;URI:http://a.example/"),
                                   NULL);
    char *path = apr_palloc(pool, 2001);
    const char *extensions[] = { AIA, many, NULL };
    staple_cert_registry_t *registry = staple_cert_registry_make(pool);
    staple_cert_policy_t policy = default_policy();
    const char *reason;
    pki_id_t leaf = make_leaf("many", extensions);
    staple_cert_t *cert = add(registry, "many", &leaf, "h:443");

    ok(cert && cert->urls->nelts == 8 && cert->urls_refused == 2,
       "no more than eight URIs of a certificate");
    cert = add_use(registry, use_of("lonely", pair_pem(&leaf, &leaf), "h:443",
                                    0, &policy), &reason);
    ok(cert && cert->issuer_urls->nelts == 8,
       "... or of where its issuer is, if that is not known");
    memset(path, 'a', 2000);
    path[2000] = '\0';
    extensions[1] = apr_pstrcat(pool, uri, path, NULL);
    leaf = make_leaf("long", extensions);
    cert = add(registry, "long", &leaf, "h:443");
    ok(cert && cert->urls->nelts == 0 && cert->urls_refused == 1,
       "no URI of more than 1 KB");
}

/* CR LF in the serial number, which would stand in the body of a POST. */
static void test_serial(void)
{
    static const char hex[] = "0D0A534C41564546204E4F204F4E450D0A";
    staple_cert_registry_t *registry = staple_cert_registry_make(pool);
    const char *extensions[] = { AIA, "OCSP;URI:http://a.example/", NULL };
    int len;

    for (len = 19; len <= 22; len++) {
        pki_id_t leaf = make_leaf("serial", extensions);
        char *digits = apr_palloc(pool, 2 * (apr_size_t)len + 1);
        BIGNUM *number = NULL;
        staple_cert_t *cert;

        memset(digits, '4', 2 * (apr_size_t)len);
        memcpy(digits, hex, sizeof(hex) - 1);
        digits[2 * len] = '\0';
        BN_hex2bn(&number, digits);
        BN_to_ASN1_INTEGER(number, X509_get_serialNumber(leaf.cert));
        BN_free(number);
        X509_sign(leaf.cert, ca.key, EVP_sha256());
        cert = add(registry, digits, &leaf, "h:443");
        ok(cert && cert->scope == (len > 20 ? STAPLE_CERT_OVERSIZED
                                            : STAPLE_CERT_APPLIES)
           && strlen(cert->serial) <= 64,
           "a serial number of %d octets", len);
    }
}

static int known_by_parsing(const char *id, staple_cert_registry_t *registry,
                            const staple_cert_policy_t *policy)
{
    const char *reason;

    /* what is no PEM would be refused if it were looked at */
    return add_use(registry,
                   use_of(id, "not looked at", "b:443", -1, policy),
                   &reason) != NULL;
}

/* A further virtual host costs its name. */
static void test_many_hosts(void)
{
    staple_cert_registry_t *registry = staple_cert_registry_make(pool);
    staple_cert_policy_t policy = default_policy();
    pki_id_t leaf = make_leaf("many hosts", NULL);
    const char *pem = pair_pem(&leaf, &ca);
    staple_cert_t *cert = NULL;
    const char *reason;
    int i;

    for (i = 20000; i > 0; i--) {
        cert = add_use(registry,
                       use_of("m", pem, apr_psprintf(pool, "host%d:443", i), i,
                              &policy),
                       &reason);
    }
    ok(known_by_parsing("m", registry, &policy),
       "a known certificate is not looked at again");
    staple_cert_registry_finish(registry);
    is_int(cert->hosts->nelts, 20001, "all its virtual hosts are known");
    is_str(APR_ARRAY_IDX(cert->hosts, 1, const char *), "host1:443",
           "in order of configuration");
    is_str(APR_ARRAY_IDX(cert->hosts, 20000, const char *), "host20000:443",
           "to the last");
}

static void test_key_texts(void)
{
    static const struct {
        pki_key_e type;
        const char *text;
    } rows[] = {
        { PKI_EC, "EC 256" }, { PKI_RSA, "RSA 2048" },
        { PKI_ED25519, "ED25519 253" }
    };
    apr_size_t i;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        staple_cert_registry_t *registry = staple_cert_registry_make(pool);
        pki_want_t want = { .name = "key", .serial = 3, .issuer = &ca,
                            .key_type = rows[i].type };
        pki_id_t leaf = pki_make(&want, pool);
        staple_cert_t *cert = add(registry, "k", &leaf, "k:443");

        is_str(cert ? cert->key_type : "", rows[i].text, "the kind of key");
    }
}

static void test_force_url(void)
{
    staple_cert_registry_t *registry = staple_cert_registry_make(pool);
    staple_cert_policy_t policy = default_policy();
    pki_id_t leaf = make_leaf("forced", NULL);
    const char *reason;
    staple_cert_t *cert;

    policy.force_url = "http://forced.example/";
    cert = add_use(registry,
                   use_of("f", pair_pem(&leaf, &ca), "f:443", 0, &policy),
                   &reason);
    ok(cert && cert->scope == STAPLE_CERT_APPLIES && cert->urls->nelts == 1,
       "a configured responder stands in for one in the certificate");
}

static void test_order(void)
{
    static const struct {
        const char *id, *host, *url;
        int rank;
    } calls[] = { /* backwards, as mod_ssl does it */
        { "c", "third:443", "http://third.example/", 3 },
        { "a", "shared2:443", "http://shared2.example/", 2 },
        { "b", "second:443", "http://second.example/", 2 },
        { "a", "shared1:443", "http://shared1.example/", 1 },
        { "d", "main:443", "http://main.example/", 0 },
    };
    staple_cert_registry_t *registry = staple_cert_registry_make(pool);
    pki_id_t leaf = make_leaf("order", NULL);
    const apr_array_header_t *list;
    char order[5] = "";
    const char *reason;
    staple_cert_t *cert;
    apr_size_t i;

    for (i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
        staple_cert_policy_t policy = default_policy();

        policy.force_url = calls[i].url;
        add_use(registry,
                use_of(calls[i].id, pair_pem(&leaf, &ca), calls[i].host,
                       calls[i].rank, &policy),
                &reason);
    }
    staple_cert_registry_finish(registry);
    list = staple_cert_list(registry);
    for (i = 0; i < 4 && (int)i < list->nelts; i++) {
        order[i] = (char)APR_ARRAY_IDX(list, i, staple_cert_t *)->id[0];
    }
    is_str(order, "dabc", "the list is in the order of the configuration");
    cert = staple_cert_find(registry, "a", 1);
    is_str(APR_ARRAY_IDX(cert->hosts, 0, const char *), "shared1:443",
           "the first host comes first");
    is_int(cert->hosts->nelts, 2, "and the other after it");
    is_str(APR_ARRAY_IDX(cert->urls, 0, const char *),
           "http://shared1.example/", "the first host's policy holds");
    is_int(cert->urls->nelts, 1, "and no other's");
}

static int is_clean(const char *text)
{
    while (apr_isprint(*text) && !(*text & 0x80)) {
        text++;
    }
    return !*text;
}

static void test_hostile_names(void)
{
    static const char *const names[] = {
        "line\nfeed", "\033[31mred", "caf\303\251", "tab\there", "\177", NULL
    };
    int i;

    for (i = 0; names[i]; i++) {
        staple_cert_registry_t *registry = staple_cert_registry_make(pool);
        pki_id_t leaf = make_leaf(names[i], NULL);
        staple_cert_t *cert = add(registry, "h", &leaf, "h:443");

        ok(cert && is_clean(cert->name) && is_clean(cert->subject_dn)
           && is_clean(cert->issuer_dn), "name %d is made printable", i);
    }
}

static void test_bad_pem(void)
{
    staple_cert_registry_t *registry = staple_cert_registry_make(pool);
    staple_cert_policy_t policy = default_policy();
    pki_id_t leaf = make_leaf("alone", NULL);
    const char *reason = NULL;

    ok(!add_use(registry, use_of("p", "no PEM", "p:443", 0, &policy), &reason)
       && reason, "text that is no PEM is refused with a reason");
    reason = NULL;
    ok(!add_use(registry,
                use_of("p", pki_pem(&(pki_id_t){ leaf.cert, NULL }, pool),
                       "p:443", 0, &policy),
                &reason)
       && reason,
       "a certificate without its issuer is refused with a reason");
    is_int(staple_cert_list(registry)->nelts, 0, "neither leaves a record");
    ok(!ERR_peek_error(), "OpenSSL's error queue is empty");
}

int main(void)
{
    pki_want_t want = { .name = "test CA", .serial = 1,
                        .extensions = { PKI_CA } };

    apr_initialize();
    apr_pool_create(&pool, NULL);
    ca = pki_make(&want, pool);
    test_one_record();
    test_ids();
    test_scopes();
    test_self_signed();
    test_wrong_issuer();
    test_issuer_of_another_host();
    test_bounds();
    test_serial();
    test_many_hosts();
    test_key_texts();
    test_force_url();
    test_order();
    test_hostile_names();
    test_bad_pem();
    apr_pool_destroy(pool);
    apr_terminate();
    return tap_done();
}
