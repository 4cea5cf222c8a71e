/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The registry of certificates: what mod_ssl's prime hook hands over becomes
 * one record per distinct certificate, with all that later steps want to know
 * of it (CertIDs, responders, must-staple, names for the log).
 *
 * The one idea: everything that depends on the certificate alone is worked
 * out here once, in the parent, from the administrator's own files; what comes
 * after only reads. A certificate is taken apart when it comes for the first
 * time, its issuer when the first of its certificates comes, and what is kept
 * of it is text, digests and numbers. What only serves to put the registry
 * together goes when it is finished. No key is decoded here unless two
 * certificates do not seem to belong together.
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

#include "staple_magic.h"
#include "staple_pool.h"
#include "staple_x509.h"

/* No CA needs longer URIs; what is longer is not worth the log's room. */
#define URL_LENGTH_MAX 1024

/* Nor do they name more responders than one or two. */
#define URLS_MAX 8

/* The longest name that is looked at, in bytes of DER. */
#define NAME_LENGTH_MAX 4096

/* OpenSSL knows id-ce-noRevAvail (RFC 9608) by name only since 3.4. */
#define NO_REV_AVAIL "2.5.29.56"

/* A certificate in DER, as OpenSSL allocated it. */
typedef struct pem_t {
    unsigned char *der;
    long len;
} pem_t;

#define ISSUER_MAGIC 0x43495353u

typedef struct issuer_t {
    staple_magic_t magic;
    pem_t pem;
    ASN1_OCTET_STRING *key_id; /* subjectKeyIdentifier; NULL: none */
    staple_ocsp_issuer_t *prepared;
} issuer_t;

/* A virtual host that uses a certificate. */
typedef struct user_t {
    const char *host;
    int rank;
    int order; /* in which they came */
} user_t;

/* What a certificate is made from: not kept when the registry is finished. */
typedef struct record_t {
    staple_cert_t *cert; /* what everybody else sees */
    staple_cert_scope_e scope; /* by what is in the certificate alone */
    const staple_ocsp_subject_t *subject; /* NULL unless that is APPLIES and the
                                  issuer is known */
    const apr_array_header_t *uris; /* const char *: in it, those that are
                                  sane */
    int uris_refused;          /* and how many are not */
    const apr_array_header_t *issuer_uris; /* the same, of the issuer's
                                  certificate, where that is not known */
    apr_array_header_t *users; /* user_t, in the order in which they came */
} record_t;

/* Many certificates have the same issuer, responders and directives: of what
 * they have in common there is one. */
struct staple_cert_registry_t {
    apr_pool_t *pool;
    apr_array_header_t *list; /* staple_cert_t *; once the registry is finished,
                                 in order of configuration */
    apr_hash_t *by_id;        /* STAPLE_ID_LEN bytes to staple_cert_t * */

    /* Until the registry is finished: */
    apr_pool_t *forming;      /* what is in it is not kept */
    apr_pool_t *scratch;      /* cleared after each call */
    apr_hash_t *texts;        /* texts that many have, by themselves */
    apr_hash_t *lists;        /* apr_array_header_t * of such, by their lines */
    apr_hash_t *policies;     /* staple_cert_policy_t *, by their bytes */
    apr_hash_t *issuers;      /* DER to issuer_t * */
    apr_array_header_t *records; /* record_t, by the entry of their cert */
};

static record_t *record_of(const staple_cert_registry_t *registry,
                           const staple_cert_t *cert)
{
    return &APR_ARRAY_IDX(registry->records, cert->entry, record_t);
}

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
    case STAPLE_CERT_OVERSIZED:
        return "its serial number is longer than RFC 5280 allows, or a name in "
               "it is longer than 4096 bytes";
    case STAPLE_CERT_WRONG_ISSUER:
        return "the issuer in the chain did not sign this certificate: there "
               "may be two CAs of that name, so look at what follows it in its "
               "file and at SSLCertificateChainFile";
    case STAPLE_CERT_SCOPES:
        break;
    }
    return "unknown";
}

int staple_cert_may_be_stapled(staple_cert_scope_e scope)
{
    return scope == STAPLE_CERT_APPLIES || scope == STAPLE_CERT_NO_ISSUER
           || scope == STAPLE_CERT_OVERSIZED
           || scope == STAPLE_CERT_WRONG_ISSUER;
}

int staple_cert_is_faulty(const staple_cert_t *cert)
{
    return cert->scope == STAPLE_CERT_OVERSIZED
           || cert->scope == STAPLE_CERT_WRONG_ISSUER;
}

int staple_cert_lacks_issuer(const staple_cert_t *cert)
{
    return !cert->subject
           && (cert->scope == STAPLE_CERT_APPLIES
               || cert->scope == STAPLE_CERT_NO_ISSUER
               || cert->scope == STAPLE_CERT_WRONG_ISSUER);
}

staple_cert_registry_t *staple_cert_registry_make(apr_pool_t *p)
{
    staple_cert_registry_t *registry = apr_pcalloc(p, sizeof(*registry));
    apr_pool_t *forming;

    staple_pool_make(&forming, p, 0, "staple_cert");
    registry->pool = p;
    registry->forming = forming;
    registry->list = apr_array_make(forming, 8, sizeof(staple_cert_t *));
    registry->by_id = apr_hash_make(forming);
    registry->issuers = apr_hash_make(forming);
    registry->texts = apr_hash_make(forming);
    registry->lists = apr_hash_make(forming);
    registry->policies = apr_hash_make(forming);
    registry->records = apr_array_make(forming, 8, sizeof(record_t));
    apr_pool_create(&registry->scratch, forming);
    apr_pool_tag(registry->scratch, "staple_cert_add");
    return registry;
}

/* ----- what many have in common ----- */

static const char *keep_text(staple_cert_registry_t *registry,
                             const char *text)
{
    const char *kept = text ? apr_hash_get(registry->texts, text,
                                           APR_HASH_KEY_STRING) : NULL;

    if (text && !kept) {
        kept = apr_pstrdup(registry->pool, text);
        apr_hash_set(registry->texts, kept, APR_HASH_KEY_STRING, kept);
    }
    return kept;
}

/* No text in a list has a line's end in it. */
static const apr_array_header_t *keep_list(staple_cert_registry_t *registry,
                                           const apr_array_header_t *list)
{
    const char *lines = apr_array_pstrcat(registry->scratch, list, '\n');
    apr_array_header_t *kept = apr_hash_get(registry->lists, lines,
                                            APR_HASH_KEY_STRING);
    int i;

    if (kept) {
        return kept;
    }
    kept = apr_array_make(registry->pool, list->nelts, sizeof(const char *));
    for (i = 0; i < list->nelts; i++) {
        APR_ARRAY_PUSH(kept, const char *)
            = keep_text(registry, APR_ARRAY_IDX(list, i, const char *));
    }
    apr_hash_set(registry->lists, keep_text(registry, lines),
                 APR_HASH_KEY_STRING, kept);
    return kept;
}

static const staple_cert_policy_t *
keep_policy(staple_cert_registry_t *registry,
            const staple_cert_policy_t *policy, int outlives_age)
{
    staple_cert_policy_t own, *kept;

    memcpy(&own, policy, sizeof(own)); /* by bytes, for the unused ones */
    own.outlives_age = outlives_age;
    own.force_url = keep_text(registry, policy->force_url);
    own.proxy = keep_text(registry, policy->proxy);
    own.proxy_shown = keep_text(registry, policy->proxy_shown);
    own.proxy_credentials = keep_text(registry, policy->proxy_credentials);
    kept = apr_hash_get(registry->policies, &own, sizeof(own));
    if (!kept) {
        kept = apr_pmemdup(registry->pool, &own, sizeof(own));
        apr_hash_set(registry->policies, kept, sizeof(*kept), kept);
    }
    return kept;
}

const apr_array_header_t *
staple_cert_list(const staple_cert_registry_t *registry)
{
    return registry->list;
}

apr_size_t staple_cert_count_stapled(const staple_cert_registry_t *registry)
{
    const apr_array_header_t *list = registry->list;
    apr_size_t count = 0;
    int i;

    for (i = 0; i < list->nelts; i++) {
        count += APR_ARRAY_IDX(list, i, staple_cert_t *)->scope
                 == STAPLE_CERT_APPLIES;
    }
    return count;
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

/* ----- what a certificate says ----- */

static const char *first_dns_name(const staple_x509_t *x, apr_pool_t *p)
{
    GENERAL_NAMES *names = staple_x509_extension(x, NID_subject_alt_name);
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

static const char *common_name(const staple_x509_t *x, apr_pool_t *p)
{
    X509_NAME *name = x->body->subject;
    int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);

    return at < 0 ? NULL
                  : staple_x509_string_text(
                        X509_NAME_ENTRY_get_data(
                            X509_NAME_get_entry(name, at)), p);
}

static const char *display_name(const staple_x509_t *x, const char *serial,
                                apr_pool_t *p)
{
    const char *name = first_dns_name(x, p);

    if (!name) {
        name = common_name(x, p);
    }
    return name ? name : apr_pstrcat(p, "serial ", serial, NULL);
}

/* Whether the key of one certificate signed another. That decodes the key and
 * checks a signature, so it is asked only where nothing cheaper answers. */
static int has_signed(pem_t signer, pem_t other)
{
    const unsigned char *at = signer.der;
    X509 *one = d2i_X509(NULL, &at, signer.len), *two;
    int it_has;

    at = other.der;
    two = d2i_X509(NULL, &at, other.len);
    it_has = one && two && X509_get0_pubkey(one)
             && X509_verify(two, X509_get0_pubkey(one)) == 1;
    X509_free(one);
    X509_free(two);
    return it_has;
}

/* Not X509_check_issued: that asks whether the key may sign certificates, and
 * a leaf that signed itself (mod_md's, while it waits for a true one) mostly
 * says that it may not. */
static int is_self_signed(const staple_x509_t *x, pem_t leaf)
{
    return !X509_NAME_cmp(x->body->subject, x->body->issuer)
           && has_signed(leaf, leaf);
}

/* ----- its responders ----- */

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

static const char *uri_of(const ACCESS_DESCRIPTION *access, int method)
{
    const ASN1_IA5STRING *uri;

    if (OBJ_obj2nid(access->method) != method
        || access->location->type != GEN_URI) {
        return NULL;
    }
    uri = access->location->d.uniformResourceIdentifier;
    return memchr(ASN1_STRING_get0_data(uri), 0,
                  (size_t)ASN1_STRING_length(uri))
           ? "" : (const char *)ASN1_STRING_get0_data(uri);
}

/* Each is asked in turn, again and again, so their number is bounded too: a
 * certificate is no list of whom to ask for. Returns how many are left out. */
static int collect_uris(staple_cert_registry_t *registry,
                        const apr_array_header_t **kept,
                        const staple_x509_t *x, int method)
{
    apr_array_header_t *uris = apr_array_make(registry->scratch, 1,
                                              sizeof(const char *));
    AUTHORITY_INFO_ACCESS *list = staple_x509_extension(x, NID_info_access);
    int refused = 0;
    int i;

    for (i = 0; i < sk_ACCESS_DESCRIPTION_num(list); i++) {
        const char *uri = uri_of(sk_ACCESS_DESCRIPTION_value(list, i), method);

        if (!uri) {
            continue;
        }
        if (is_sane_url(uri) && uris->nelts < URLS_MAX) {
            APR_ARRAY_PUSH(uris, const char *) = uri;
        }
        else {
            refused++;
        }
    }
    *kept = keep_list(registry, uris);
    AUTHORITY_INFO_ACCESS_free(list);
    return refused;
}

/* ----- whether OCSP applies ----- */

/* The bounds of RFC 5280 4.1.2.2 on serial numbers, and ours on names, which
 * have none there. What is longer goes into no request, log or page. */
static int is_oversized(const staple_x509_t *x)
{
    return ASN1_STRING_length(x->body->serial) > STAPLE_OCSP_SERIAL_MAX
           || i2d_X509_NAME(x->body->subject, NULL) > NAME_LENGTH_MAX
           || i2d_X509_NAME(x->body->issuer, NULL) > NAME_LENGTH_MAX;
}

/* Whether the issuer has another key than the one that signed the leaf, as
 * where a CA has two of one name. The identifiers of the keys say it mostly; a
 * signature is checked where they do not agree. */
static int is_other_key(const staple_x509_t *x, pem_t leaf,
                        const issuer_t *issuer)
{
    AUTHORITY_KEYID *said = staple_x509_extension(
        x, NID_authority_key_identifier);
    int is_said = said && said->keyid && issuer->key_id
                  && !ASN1_OCTET_STRING_cmp(said->keyid, issuer->key_id);

    AUTHORITY_KEYID_free(said);
    return !is_said && !has_signed(issuer->pem, leaf);
}

/* What holds whatever the directives say. */
static staple_cert_scope_e scope_of(const staple_x509_t *x, pem_t leaf,
                                    const issuer_t *issuer)
{
    if (is_oversized(x)) {
        return STAPLE_CERT_OVERSIZED;
    }
    if (is_self_signed(x, leaf)) {
        return STAPLE_CERT_SELF_SIGNED;
    }
    if (staple_x509_has_extension(x, NO_REV_AVAIL)) {
        return STAPLE_CERT_NO_REV_AVAIL;
    }
    return issuer && is_other_key(x, leaf, issuer) ? STAPLE_CERT_WRONG_ISSUER
                                                   : STAPLE_CERT_APPLIES;
}

/* ----- from PEM to a record ----- */

static void free_pem(pem_t *pem)
{
    OPENSSL_free(pem->der);
    pem->der = NULL;
}

static int read_pem(pem_t *pem, BIO *bio)
{
    pem->der = NULL;
    return bio && PEM_bytes_read_bio(&pem->der, &pem->len, NULL,
                                     PEM_STRING_X509, bio, NULL, NULL);
}

static apr_status_t release_issuer(void *data)
{
    issuer_t *issuer = STAPLE_CAST(issuer_t, ISSUER_MAGIC, data);

    ASN1_OCTET_STRING_free(issuer->key_id);
    return APR_SUCCESS;
}

static issuer_t *make_issuer(staple_cert_registry_t *registry, pem_t pem)
{
    apr_pool_t *p = registry->forming;
    staple_x509_t *x = staple_x509_read(pem.der, (apr_size_t)pem.len);
    issuer_t *issuer;

    if (!x) {
        return NULL;
    }
    issuer = apr_pcalloc(p, sizeof(*issuer));
    issuer->magic = ISSUER_MAGIC;
    issuer->pem.len = pem.len;
    issuer->pem.der = apr_pmemdup(p, pem.der, (apr_size_t)pem.len);
    issuer->key_id = staple_x509_extension(x, NID_subject_key_identifier);
    staple_x509_free(x);
    apr_pool_cleanup_register(p, issuer, release_issuer,
                              apr_pool_cleanup_null);
    if (staple_ocsp_issuer_create(&issuer->prepared, pem.der,
                                  (apr_size_t)pem.len, registry->pool)) {
        return NULL;
    }
    apr_hash_set(registry->issuers, issuer->pem.der, issuer->pem.len, issuer);
    return issuer;
}

/* Many certificates have one issuer, which is taken apart once. */
static issuer_t *find_issuer(staple_cert_registry_t *registry, pem_t pem)
{
    issuer_t *issuer = apr_hash_get(registry->issuers, pem.der, pem.len);

    return issuer ? issuer : make_issuer(registry, pem);
}

static const char *fill_cert(staple_cert_registry_t *registry,
                             record_t *record, const staple_x509_t *x,
                             pem_t leaf, const issuer_t *issuer)
{
    apr_pool_t *p = registry->pool, *scratch = registry->scratch;
    staple_cert_t *cert = record->cert;
    staple_ocsp_subject_t *subject;

    cert->serial = staple_x509_serial_text(x->body->serial, p);
    cert->name = display_name(x, cert->serial, p);
    cert->subject_dn = staple_x509_name_text(x->body->subject, p);
    cert->issuer_dn = keep_text(registry,
                                staple_x509_name_text(x->body->issuer,
                                                      scratch));
    cert->key_type = keep_text(registry, staple_x509_key_text(x, scratch));
    staple_ocsp_read_time(x->body->validity->notAfter, &cert->not_after);
    cert->is_must_staple = staple_x509_is_must_staple(x);
    record->scope = scope_of(x, leaf, issuer);
    record->uris_refused = collect_uris(registry, &record->uris, x,
                                        NID_ad_OCSP);
    if (!issuer) {
        collect_uris(registry, &record->issuer_uris, x, NID_ad_ca_issuers);
        cert->leaf = apr_pmemdup(p, leaf.der, (apr_size_t)leaf.len);
        cert->leaf_len = (apr_size_t)leaf.len;
    }
    if (record->scope == STAPLE_CERT_APPLIES && issuer) {
        if (staple_ocsp_subject_create(&subject, x, issuer->prepared, p)) {
            return "the certificate behind it is not its issuer's";
        }
        record->subject = subject;
    }
    return NULL;
}

/* The certificate itself in the place of its issuer's: that is not known. */
static int is_same_cert(pem_t one, pem_t other)
{
    return one.len == other.len
           && !memcmp(one.der, other.der, (size_t)one.len);
}

static const char *describe_pair(staple_cert_registry_t *registry,
                                 record_t *record, pem_t leaf, pem_t behind)
{
    staple_x509_t *x = staple_x509_read(leaf.der, (apr_size_t)leaf.len);
    issuer_t *issuer = is_same_cert(leaf, behind) ? NULL
                                             : find_issuer(registry, behind);
    const char *reason;

    if (!x) {
        reason = "it is no PEM certificate";
    }
    else if (!issuer && !is_same_cert(leaf, behind)) {
        reason = "what follows it is not its issuer's certificate";
    }
    else {
        reason = fill_cert(registry, record, x, leaf, issuer);
    }
    staple_x509_free(x);
    return reason;
}

/* The caller frees both, whatever comes of it. */
static const char *read_pair(pem_t *leaf, pem_t *behind, const char *text)
{
    BIO *bio = BIO_new_mem_buf(text, -1);
    const char *reason = NULL;

    behind->der = NULL;
    if (!read_pem(leaf, bio)) {
        reason = "it is no PEM certificate";
    }
    else if (!read_pem(behind, bio)) {
        reason = "its issuer's certificate does not follow it";
    }
    BIO_free(bio);
    return reason;
}

static const char *describe_pem(staple_cert_registry_t *registry,
                                record_t *record, const char *text)
{
    pem_t leaf, behind;
    const char *reason = read_pair(&leaf, &behind, text);

    if (!reason) {
        reason = describe_pair(registry, record, leaf, behind);
    }
    free_pem(&leaf);
    free_pem(&behind);
    ERR_clear_error();
    return reason;
}

/* ----- an issuer that another virtual host has ----- */

/* The first host may have a chain that lacks the issuer, or has another CA of
 * that name. */
static int lacks_issuer(const record_t *record)
{
    return record->scope == STAPLE_CERT_WRONG_ISSUER
           || (record->scope == STAPLE_CERT_APPLIES && !record->subject);
}

/* What is asked with, if that is the issuer; NULL: it is not. */
static const staple_ocsp_subject_t *try_issuer(staple_cert_registry_t *registry,
                                               pem_t leaf, pem_t behind)
{
    const issuer_t *issuer = is_same_cert(leaf, behind)
                             ? NULL : find_issuer(registry, behind);
    staple_x509_t *x = issuer ? staple_x509_read(leaf.der, (apr_size_t)leaf.len)
                              : NULL;
    staple_ocsp_subject_t *subject = NULL;

    if (x && scope_of(x, leaf, issuer) == STAPLE_CERT_APPLIES
        && staple_ocsp_subject_create(&subject, x, issuer->prepared,
                                      registry->pool)) {
        subject = NULL;
    }
    staple_x509_free(x);
    return subject;
}

static void note_issuer(staple_cert_registry_t *registry, record_t *record,
                        const char *text)
{
    staple_cert_t *cert = record->cert;
    pem_t leaf, behind;

    if (!read_pair(&leaf, &behind, text)) {
        record->subject = try_issuer(registry, leaf, behind);
    }
    if (record->subject) {
        record->scope = STAPLE_CERT_APPLIES;
        record->issuer_uris = cert->hosts; /* empty yet */
        cert->leaf = NULL;
        cert->leaf_len = 0;
    }
    free_pem(&leaf);
    free_pem(&behind);
    ERR_clear_error();
}

/* ----- an issuer that was fetched ----- */

void staple_cert_issuer_id(const unsigned char id[STAPLE_ID_LEN],
                           unsigned char issuer_id[STAPLE_ID_LEN])
{
    static const char mark[] = "issuer of";
    unsigned char text[sizeof(mark) + STAPLE_ID_LEN];

    memcpy(text, mark, sizeof(mark));
    memcpy(text + sizeof(mark), id, STAPLE_ID_LEN);
    EVP_Digest(text, sizeof(text), issuer_id, NULL, EVP_sha256(), NULL);
}

int staple_cert_adopt_issuer(staple_cert_t *cert, const unsigned char *der,
                             apr_size_t len, apr_pool_t *p)
{
    pem_t leaf = { (unsigned char *)cert->leaf, (long)cert->leaf_len };
    pem_t issuer = { (unsigned char *)der, (long)len };
    staple_ocsp_subject_t *subject;
    staple_ocsp_issuer_t *prepared;
    staple_x509_t *x;

    if (!cert->leaf || !has_signed(issuer, leaf)) {
        ERR_clear_error();
        return 0;
    }
    x = staple_x509_read(cert->leaf, cert->leaf_len);
    if (x && !staple_ocsp_issuer_create(&prepared, der, len, p)
        && !staple_ocsp_subject_create(&subject, x, prepared, p)) {
        cert->subject = subject;
    }
    staple_x509_free(x);
    ERR_clear_error();
    return cert->subject != NULL;
}

/* ----- the registry ----- */

static void begin_record(staple_cert_registry_t *registry, record_t *record,
                         const staple_cert_use_t *use)
{
    staple_cert_t *cert = apr_pcalloc(registry->pool, sizeof(*cert));

    id_of(use->id, use->id_len, cert->id);
    cert->slot = cert->issuer_slot = -1;
    cert->hosts = keep_list(registry, apr_array_make(
                                registry->scratch, 0, sizeof(const char *)));
    cert->is_of_chain = use->is_of_chain;
    memset(record, 0, sizeof(*record));
    record->cert = cert;
    record->uris = record->issuer_uris = cert->hosts;
    record->users = apr_array_make(registry->forming, 1, sizeof(user_t));
}

static const apr_array_header_t *one_url(staple_cert_registry_t *registry,
                                         const char *url)
{
    apr_array_header_t *urls = apr_array_make(registry->scratch, 1,
                                              sizeof(const char *));

    APR_ARRAY_PUSH(urls, const char *) = url;
    return keep_list(registry, urls);
}

/* All that depends on the first virtual host's directives. It is not worked
 * out until all are there: mod_ssl comes from the last host to the first. */
static void apply_policy(staple_cert_registry_t *registry, record_t *record)
{
    staple_cert_t *cert = record->cert;
    const char *forced = cert->policy->force_url;

    cert->urls = forced ? one_url(registry, forced) : record->uris;
    cert->urls_refused = forced ? 0 : record->uris_refused;
    cert->scope = record->scope;
    if (cert->scope == STAPLE_CERT_APPLIES && !cert->urls->nelts
        && !cert->policy->response_files->nelts) {
        cert->scope = STAPLE_CERT_NO_RESPONDER;
    }
    else if (cert->scope == STAPLE_CERT_APPLIES && !record->subject
             && !(cert->policy->fetch_issuer && record->issuer_uris->nelts)) {
        cert->scope = STAPLE_CERT_NO_ISSUER;
    }
    cert->issuer_urls = record->issuer_uris;
    cert->subject = record->subject;
}

static void set_first(staple_cert_registry_t *registry, record_t *record,
                      const staple_cert_use_t *use)
{
    staple_cert_t *cert = record->cert;

    cert->rank = use->rank;
    cert->policy = keep_policy(registry, use->policy, cert->is_must_staple);
    apply_policy(registry, record);
}

static void add_user(record_t *record, const staple_cert_use_t *use,
                     apr_pool_t *p)
{
    user_t *user;

    if (record->users->nelts) {
        user = &APR_ARRAY_IDX(record->users, record->users->nelts - 1, user_t);
        if (user->rank == use->rank && !strcmp(user->host, use->host)) {
            return;
        }
    }
    user = apr_array_push(record->users);
    user->rank = use->rank;
    user->order = record->users->nelts;
    user->host = apr_pstrdup(p, use->host);
}

static staple_cert_t *enter(staple_cert_registry_t *registry,
                            const record_t *record)
{
    staple_cert_t *cert = record->cert;

    cert->entry = registry->list->nelts;
    APR_ARRAY_PUSH(registry->records, record_t) = *record;
    APR_ARRAY_PUSH(registry->list, staple_cert_t *) = cert;
    apr_hash_set(registry->by_id, cert->id, STAPLE_ID_LEN, cert);
    return cert;
}

/* One more virtual host of a certificate that is there already. */
static void meet_again(staple_cert_registry_t *registry, record_t *record,
                       const staple_cert_use_t *use)
{
    if (use->pem && lacks_issuer(record)) {
        note_issuer(registry, record, use->pem);
        apply_policy(registry, record);
    }
    if (use->rank < record->cert->rank) {
        set_first(registry, record, use);
    }
}

static staple_cert_t *add_new(staple_cert_registry_t *registry,
                              const staple_cert_use_t *use,
                              const char **reason)
{
    record_t record;

    begin_record(registry, &record, use);
    *reason = describe_pem(registry, &record, use->pem);
    if (*reason) {
        return NULL;
    }
    set_first(registry, &record, use);
    return enter(registry, &record);
}

staple_cert_t *staple_cert_add(staple_cert_registry_t *registry,
                               const staple_cert_use_t *use,
                               const char **reason)
{
    staple_cert_t *cert = staple_cert_find(registry, use->id, use->id_len);

    *reason = NULL;
    if (cert) {
        meet_again(registry, record_of(registry, cert), use);
    }
    else {
        cert = add_new(registry, use, reason);
    }
    if (cert) {
        add_user(record_of(registry, cert), use, registry->pool);
    }
    apr_pool_clear(registry->scratch);
    return cert;
}

/* ----- its end ----- */

static int compare(int one, int other)
{
    return (one > other) - (one < other);
}

/* Certificates of one virtual host stay in the order in which they came. */
static int by_rank(const void *a, const void *b)
{
    const staple_cert_t *one = *(staple_cert_t *const *)a;
    const staple_cert_t *other = *(staple_cert_t *const *)b;

    return one->rank != other->rank ? compare(one->rank, other->rank)
                                    : compare(one->entry, other->entry);
}

static int by_user_rank(const void *a, const void *b)
{
    const user_t *one = a;
    const user_t *other = b;

    return one->rank != other->rank ? compare(one->rank, other->rank)
                                    : compare(one->order, other->order);
}

static int by_user_host(const void *a, const void *b)
{
    const user_t *one = a;
    const user_t *other = b;
    int order = strcmp(one->host, other->host);

    return order ? order : by_user_rank(a, b);
}

static void sort_users(apr_array_header_t *users,
                       int (*order)(const void *, const void *))
{
    qsort(users->elts, (apr_size_t)users->nelts, sizeof(user_t), order);
}

/* Leave of each virtual host what comes first. Sorted rather than looked up, so
 * that it takes no memory. */
static void drop_repeated(apr_array_header_t *users)
{
    user_t *user = (user_t *)users->elts;
    int i, kept = 0;

    sort_users(users, by_user_host);
    for (i = 0; i < users->nelts; i++) {
        if (!kept || strcmp(user[i].host, user[kept - 1].host)) {
            user[kept++] = user[i];
        }
    }
    users->nelts = kept;
}

/* The names of a certificate's virtual hosts, each once. */
static void list_hosts(record_t *record, apr_pool_t *p)
{
    apr_array_header_t *users = record->users;
    apr_array_header_t *hosts;
    int i;

    drop_repeated(users);
    sort_users(users, by_user_rank);
    hosts = apr_array_make(p, users->nelts, sizeof(const char *));
    for (i = 0; i < users->nelts; i++) {
        APR_ARRAY_PUSH(hosts, const char *)
            = APR_ARRAY_IDX(users, i, user_t).host;
    }
    record->cert->hosts = hosts;
}

/* What grew while the certificates came, in the size that it has now. */
static void keep_index(staple_cert_registry_t *registry)
{
    apr_pool_t *p = registry->pool;
    apr_array_header_t *list = apr_array_make(p, registry->list->nelts,
                                              sizeof(staple_cert_t *));

    apr_array_cat(list, registry->list);
    registry->list = list;
    registry->by_id = apr_hash_copy(p, registry->by_id);
}

void staple_cert_registry_finish(staple_cert_registry_t *registry)
{
    int i;

    qsort(registry->list->elts, (apr_size_t)registry->list->nelts,
          sizeof(staple_cert_t *), by_rank);
    for (i = 0; i < registry->records->nelts; i++) {
        list_hosts(&APR_ARRAY_IDX(registry->records, i, record_t),
                   registry->pool);
    }
    keep_index(registry);
    apr_pool_destroy(registry->forming);
    registry->forming = registry->scratch = NULL;
    registry->records = NULL;
    registry->texts = registry->lists = registry->policies = NULL;
    registry->issuers = NULL;
}
