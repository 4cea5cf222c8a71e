/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The registry of certificates: what mod_ssl's prime hook hands over becomes
 * one record per distinct certificate, with all that later steps want to know
 * of it (CertIDs, responders, must-staple, names for the log).
 *
 * The one idea: everything that depends on the certificate alone is worked
 * out here once, in the parent, from the administrator's own files; what
 * comes after only reads.
 *
 * Certificates of a shared host are uploaded by its customers, so every
 * string taken out of one is made printable before it is kept.
 */

#include "staple_cert.h"

#include <stdlib.h>

#include <apr_hash.h>
#include <apr_lib.h>
#include <apr_strings.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "staple_x509.h"

/* The TLS extension number of status_request (RFC 6066 8, RFC 7633 6). */
#define TLS_FEATURE_STATUS_REQUEST 5

/* No CA needs longer URIs; what is longer is not worth the log's room. */
#define URL_LENGTH_MAX 1024

struct staple_cert_registry_t {
    apr_pool_t *pool;
    apr_array_header_t *list; /* staple_cert_t *, in order of configuration */
    apr_hash_t *by_id;        /* STAPLE_ID_LEN bytes to staple_cert_t * */
};

const char *staple_cert_scope_text(staple_cert_scope_e scope)
{
    switch (scope) {
    case STAPLE_CERT_APPLIES:
        return "OCSP applies";
    case STAPLE_CERT_NO_RESPONDER:
        return "its CA names no OCSP responder";
    case STAPLE_CERT_NO_REV_AVAIL:
        return "its CA publishes no revocation data (noRevAvail)";
    case STAPLE_CERT_SELF_SIGNED:
        return "it is self-signed";
    case STAPLE_CERT_NO_ISSUER:
        return "its issuer's certificate is missing";
    }
    return "unknown";
}

staple_cert_registry_t *staple_cert_registry_make(apr_pool_t *p)
{
    staple_cert_registry_t *registry = apr_pcalloc(p, sizeof(*registry));

    registry->pool = p;
    registry->list = apr_array_make(p, 8, sizeof(staple_cert_t *));
    registry->by_id = apr_hash_make(p);
    return registry;
}

const apr_array_header_t *
staple_cert_list(const staple_cert_registry_t *registry)
{
    return registry->list;
}

/* mod_ssl's ids are SHA-1 digests and fit; other TLS modules may use longer
 * ones, of which the SHA-256 stands in. */
static void id_of(const char *id, apr_size_t id_len,
                  unsigned char out[STAPLE_ID_LEN])
{
    memset(out, 0, STAPLE_ID_LEN);
    if (id_len <= STAPLE_ID_LEN) {
        memcpy(out, id, id_len);
    }
    else {
        EVP_Digest(id, id_len, out, NULL, EVP_sha256(), NULL);
    }
}

staple_cert_t *staple_cert_find(const staple_cert_registry_t *registry,
                                const char *id, apr_size_t id_len)
{
    unsigned char key[STAPLE_ID_LEN];

    id_of(id, id_len, key);
    return apr_hash_get(registry->by_id, key, STAPLE_ID_LEN);
}

static const char *first_dns_name(const X509 *x, apr_pool_t *p)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name,
                                            NULL, NULL);
    const char *text = NULL;
    int i;

    for (i = 0; !text && i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

        if (name->type == GEN_DNS) {
            text = staple_x509_string_text(name->d.dNSName, p);
        }
    }
    GENERAL_NAMES_free(names);
    return text;
}

static const char *common_name(const X509 *x, apr_pool_t *p)
{
    const X509_NAME *name = X509_get_subject_name(x);
    int at = X509_NAME_get_index_by_NID((X509_NAME *)name, NID_commonName, -1);

    return at < 0 ? NULL
                  : staple_x509_string_text(X509_NAME_ENTRY_get_data(
                                    X509_NAME_get_entry(name, at)), p);
}

static const char *display_name(const X509 *x, const char *serial,
                                apr_pool_t *p)
{
    const char *name = first_dns_name(x, p);

    if (!name) {
        name = common_name(x, p);
    }
    return name ? name : apr_pstrcat(p, "serial ", serial, NULL);
}

/* "rsaEncryption 2048", "id-ecPublicKey 256", "ED25519 256" say it all, but
 * people know other names. */
static const char *key_text(const X509 *x, apr_pool_t *p)
{
    const EVP_PKEY *key = X509_get0_pubkey(x);
    int type = key ? EVP_PKEY_base_id(key) : NID_undef;
    const char *name = type == EVP_PKEY_RSA ? "RSA"
                       : type == EVP_PKEY_EC ? "EC" : OBJ_nid2sn(type);

    return key ? apr_psprintf(p, "%s %d", name, EVP_PKEY_bits(key)) : "?";
}

static int is_must_staple(const X509 *x)
{
    TLS_FEATURE *features = X509_get_ext_d2i(x, NID_tlsfeature, NULL, NULL);
    int found = 0;
    int i;

    for (i = 0; !found && i < sk_ASN1_INTEGER_num(features); i++) {
        found = ASN1_INTEGER_get(sk_ASN1_INTEGER_value(features, i))
                == TLS_FEATURE_STATUS_REQUEST;
    }
    TLS_FEATURE_free(features);
    return found;
}

/* OpenSSL knows id-ce-noRevAvail by name only since 3.4. */
static int has_no_rev_avail(const X509 *x)
{
    ASN1_OBJECT *oid = OBJ_txt2obj("2.5.29.56", 1);
    int found = oid && X509_get_ext_by_OBJ((X509 *)x, oid, -1) >= 0;

    ASN1_OBJECT_free(oid);
    return found;
}

/* Not X509_check_issued: that asks whether the key may sign certificates, and
 * a leaf that signed itself (mod_md's, while it waits for a true one) mostly
 * says that it may not. */
static int is_self_signed(X509 *x)
{
    return !X509_NAME_cmp(X509_get_subject_name(x), X509_get_issuer_name(x))
           && X509_verify(x, X509_get0_pubkey(x)) == 1;
}

/* A URI as a log may show it and a request may carry it: printable ASCII
 * without blanks and quotes. Whether it can be asked is the fetch's to say. */
static int is_sane_url(const char *url)
{
    apr_size_t i;

    for (i = 0; url[i]; i++) {
        if (i == URL_LENGTH_MAX || !apr_isgraph(url[i]) || (url[i] & 0x80)
            || strchr("\"'<>\\^`{|}", url[i])) {
            return 0;
        }
    }
    return i > 0;
}

static void collect_urls(staple_cert_t *cert, X509 *x, apr_pool_t *p)
{
    STACK_OF(OPENSSL_STRING) *uris;
    int i;

    if (cert->policy.force_url) {
        APR_ARRAY_PUSH(cert->urls, const char *) = cert->policy.force_url;
        return;
    }
    uris = X509_get1_ocsp(x);
    for (i = 0; i < sk_OPENSSL_STRING_num(uris); i++) {
        const char *uri = sk_OPENSSL_STRING_value(uris, i);

        if (is_sane_url(uri)) {
            APR_ARRAY_PUSH(cert->urls, const char *) = apr_pstrdup(p, uri);
        }
        else {
            cert->urls_refused++;
        }
    }
    X509_email_free(uris);
}

static staple_cert_scope_e scope_of(const staple_cert_t *cert, X509 *leaf,
                                    const X509 *issuer)
{
    if (is_self_signed(leaf)) {
        return STAPLE_CERT_SELF_SIGNED;
    }
    if (has_no_rev_avail(leaf)) {
        return STAPLE_CERT_NO_REV_AVAIL;
    }
    if (!cert->urls->nelts && !cert->policy.response_files->nelts) {
        return STAPLE_CERT_NO_RESPONDER;
    }
    return X509_cmp(leaf, issuer) ? STAPLE_CERT_APPLIES
                                  : STAPLE_CERT_NO_ISSUER;
}

static const char *describe(staple_cert_t *cert, X509 *leaf, X509 *issuer,
                            apr_pool_t *p)
{
    staple_ocsp_subject_t *subject;

    cert->serial = staple_x509_serial_text(X509_get0_serialNumber(leaf), p);
    cert->name = display_name(leaf, cert->serial, p);
    cert->subject_dn = staple_x509_name_text(X509_get_subject_name(leaf), p);
    cert->issuer_dn = staple_x509_name_text(X509_get_issuer_name(leaf), p);
    cert->key_type = key_text(leaf, p);
    staple_ocsp_read_time(X509_get0_notAfter(leaf), &cert->not_after);
    cert->is_must_staple = is_must_staple(leaf);
    cert->policy.outlives_age = cert->is_must_staple;
    collect_urls(cert, leaf, p);
    cert->scope = scope_of(cert, leaf, issuer);
    if (cert->scope == STAPLE_CERT_APPLIES) {
        if (staple_ocsp_subject_create(&subject, leaf, issuer, p)) {
            return "the certificate behind it is not its issuer's, "
                   "or OpenSSL can make no OCSP CertID of the two";
        }
        cert->subject = subject;
    }
    return NULL;
}

static const char *describe_pem(staple_cert_t *cert, const char *pem,
                                apr_pool_t *p)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    X509 *leaf = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    X509 *issuer = leaf ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    const char *reason;

    if (!leaf) {
        reason = "it is no PEM certificate";
    }
    else if (!issuer) {
        reason = "its issuer's certificate does not follow it";
    }
    else {
        reason = describe(cert, leaf, issuer, p);
    }
    X509_free(issuer);
    X509_free(leaf);
    BIO_free(bio);
    ERR_clear_error();
    return reason;
}

static staple_cert_t *make_cert(staple_cert_registry_t *registry,
                                const char *id, apr_size_t id_len)
{
    apr_pool_t *p = registry->pool;
    staple_cert_t *cert = apr_pcalloc(p, sizeof(*cert));

    id_of(id, id_len, cert->id);
    cert->slot = -1;
    cert->hosts = apr_array_make(p, 1, sizeof(const char *));
    return cert;
}

/* All that depends on the first virtual host: the certificate as it sees it. */
static const char *set_first(staple_cert_t *cert, const char *pem, int rank,
                             const staple_cert_policy_t *policy,
                             apr_pool_t *p)
{
    cert->rank = rank;
    cert->policy = *policy;
    cert->urls = apr_array_make(p, 1, sizeof(const char *));
    cert->urls_refused = 0;
    return describe_pem(cert, pem, p);
}

static void add_host(staple_cert_t *cert, const char *host, int is_first,
                     apr_pool_t *p)
{
    int last, i;

    for (i = 0; i < cert->hosts->nelts; i++) {
        if (!strcmp(APR_ARRAY_IDX(cert->hosts, i, const char *), host)) {
            return;
        }
    }
    APR_ARRAY_PUSH(cert->hosts, const char *) = apr_pstrdup(p, host);
    last = cert->hosts->nelts - 1;
    if (is_first && last > 0) {
        const char **hosts = (const char **)cert->hosts->elts;
        const char *first = hosts[last];

        memmove(hosts + 1, hosts, (apr_size_t)last * sizeof(*hosts));
        hosts[0] = first;
    }
}

static void enter(staple_cert_registry_t *registry, staple_cert_t *cert)
{
    cert->entry = registry->list->nelts;
    APR_ARRAY_PUSH(registry->list, staple_cert_t *) = cert;
    apr_hash_set(registry->by_id, cert->id, STAPLE_ID_LEN, cert);
}

staple_cert_t *staple_cert_add(staple_cert_registry_t *registry,
                               const char *id, apr_size_t id_len,
                               const char *pem, const char *host, int rank,
                               const staple_cert_policy_t *policy,
                               const char **reason)
{
    staple_cert_t *cert = staple_cert_find(registry, id, id_len);
    int is_new = !cert;
    int is_first = is_new || rank < cert->rank;

    *reason = NULL;
    if (is_new) {
        cert = make_cert(registry, id, id_len);
    }
    if (is_first) {
        *reason = set_first(cert, pem, rank, policy, registry->pool);
        if (*reason) {
            return NULL;
        }
    }
    if (is_new) {
        enter(registry, cert);
    }
    add_host(cert, host, is_first, registry->pool);
    return cert;
}

/* Certificates of one virtual host stay in the order in which they came. */
static int by_rank(const void *a, const void *b)
{
    const staple_cert_t *one = *(staple_cert_t *const *)a;
    const staple_cert_t *other = *(staple_cert_t *const *)b;

    if (one->rank != other->rank) {
        return one->rank < other->rank ? -1 : 1;
    }
    return one->entry - other->entry;
}

void staple_cert_registry_finish(staple_cert_registry_t *registry)
{
    qsort(registry->list->elts, (apr_size_t)registry->list->nelts,
          sizeof(staple_cert_t *), by_rank);
}
