/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * staplectl: a ring file and certificate files become entries.
 *
 * The one idea: a ring knows its certificates by id, which is the SHA-1
 * fingerprint, and by the name of their first virtual host. Whoever wants their
 * other names and a judgement gives the certificate files; without them an
 * entry still has its response, and that says the serial, the times and the
 * status.
 *
 * Reading a ring takes a copy of the file, so what the server overwrites at
 * that moment is missing in the copy. Such a copy is taken again.
 */

#include "staplectl.h"

#include <stdio.h>
#include <string.h>

#include <apr_cstr.h>
#include <apr_errno.h>
#include <apr_lib.h>
#include <apr_strings.h>

#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "staple_http.h"
#include "staple_rules.h"

/* mod_ssl's id of a certificate, and so ours. */
#define ID_LEN 20

/* How often a file is read before what is missing is taken to be missing. */
#define TRIES 3

/* The fewest digits of an id that stand for it, and the bytes that are shown
 * where it is all there is for a name. */
#define ID_DIGITS_MIN 8
#define ID_SHOWN 8

/* ----- certificates ----- */

typedef struct leaf_t {
    X509 *leaf;
    X509 *issuer; /* NULL: in none of the files */
    const staple_cert_t *cert;
} leaf_t;

struct staplectl_certs_t {
    apr_pool_t *pool;
    apr_array_header_t *all;    /* X509 * */
    apr_array_header_t *leaves; /* leaf_t */
    staple_cert_registry_t *registry;
};

staplectl_certs_t *staplectl_certs_make(apr_pool_t *p)
{
    staplectl_certs_t *certs = apr_pcalloc(p, sizeof(*certs));

    certs->pool = p;
    certs->all = apr_array_make(p, 4, sizeof(X509 *));
    certs->leaves = apr_array_make(p, 4, sizeof(leaf_t));
    certs->registry = staple_cert_registry_make(p);
    return certs;
}

static apr_status_t free_x509(void *x)
{
    X509_free(x);
    return APR_SUCCESS;
}

void staplectl_certs_add(staplectl_certs_t *certs, X509 *x)
{
    X509_up_ref(x);
    apr_pool_cleanup_register(certs->pool, x, free_x509,
                              apr_pool_cleanup_null);
    APR_ARRAY_PUSH(certs->all, X509 *) = x;
}

const char *staplectl_certs_load(staplectl_certs_t *certs, const char *path)
{
    BIO *bio = BIO_new_file(path, "r");
    int before = certs->all->nelts;
    X509 *x;

    if (!bio) {
        ERR_clear_error();
        return apr_psprintf(certs->pool, "%s: cannot be read: %s", path,
                            strerror(errno));
    }
    while ((x = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL))) {
        staplectl_certs_add(certs, x);
        X509_free(x);
    }
    BIO_free(bio);
    ERR_clear_error();
    return certs->all->nelts > before
           ? NULL
           : apr_psprintf(certs->pool, "%s: there is no PEM certificate in it",
                          path);
}

static X509 *find_issuer(const staplectl_certs_t *certs, X509 *leaf)
{
    int i;

    for (i = 0; i < certs->all->nelts; i++) {
        X509 *x = APR_ARRAY_IDX(certs->all, i, X509 *);

        if (X509_check_issued(x, leaf) == X509_V_OK) {
            return x;
        }
    }
    return NULL;
}

static const char *pem_of(X509 *leaf, X509 *issuer, apr_pool_t *p)
{
    BIO *bio = BIO_new(BIO_s_mem());
    const char *text = NULL;
    char *data;
    long len;

    if (bio && PEM_write_bio_X509(bio, leaf)
        && PEM_write_bio_X509(bio, issuer)) {
        len = BIO_get_mem_data(bio, &data);
        text = apr_pstrmemdup(p, data, (apr_size_t)len);
    }
    BIO_free(bio);
    return text;
}

/* Where the directives say nothing else: they are not known here. */
static staple_cert_policy_t usual_policy(apr_pool_t *p)
{
    staple_cert_policy_t policy;

    memset(&policy, 0, sizeof(policy));
    policy.times.skew = STAPLE_REFRESH_SKEW;
    policy.times.max_age = -1;
    policy.times.default_age = STAPLE_REFRESH_DEFAULT_AGE;
    policy.refresh_age = -1;
    policy.response_files = apr_array_make(p, 0, sizeof(const char *));
    return policy;
}

/* The registry wants an issuer; where there is none the leaf stands in, for
 * what is said of the leaf alone. Nothing is judged then. */
static const char *add_leaf(staplectl_certs_t *certs, X509 *leaf)
{
    apr_pool_t *p = certs->pool;
    staple_cert_policy_t policy = usual_policy(p);
    leaf_t *added = apr_array_push(certs->leaves);
    unsigned char id[EVP_MAX_MD_SIZE];
    const char *reason = "it cannot be read";
    const char *pem;

    added->leaf = leaf;
    added->issuer = find_issuer(certs, leaf);
    pem = pem_of(leaf, added->issuer ? added->issuer : leaf, p);
    if (!pem || !X509_digest(leaf, EVP_sha1(), id, NULL)
        || !(added->cert = staple_cert_add(certs->registry,
                                           (const char *)id, ID_LEN, pem, "", 0,
                                           &policy, &reason))) {
        return apr_pstrcat(p, "a certificate cannot be used: ", reason, NULL);
    }
    return NULL;
}

const char *staplectl_certs_finish(staplectl_certs_t *certs)
{
    const char *wrong = NULL;
    int i;

    for (i = 0; !wrong && i < certs->all->nelts; i++) {
        X509 *x = APR_ARRAY_IDX(certs->all, i, X509 *);

        if (!X509_check_ca(x)) {
            wrong = add_leaf(certs, x);
        }
    }
    return wrong;
}

static void name_entry(staplectl_entry_t *entry, const leaf_t *leaf)
{
    entry->id = leaf->cert->id;
    entry->cert = leaf->cert;
    entry->leaf = leaf->leaf;
    entry->is_judged = leaf->issuer != NULL;
}

int staplectl_certs_first(const staplectl_certs_t *certs,
                          staplectl_entry_t *entry)
{
    if (!certs->leaves->nelts) {
        return 0;
    }
    memset(entry, 0, sizeof(*entry));
    entry->host = "";
    name_entry(entry, &APR_ARRAY_IDX(certs->leaves, 0, leaf_t));
    return 1;
}

/* ----- what a response says of itself ----- */

static const char *name_text(const X509_NAME *name, apr_pool_t *p)
{
    BIO *bio = BIO_new(BIO_s_mem());
    const char *text = "";
    char *data;
    long len;

    if (bio && X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253) >= 0
        && (len = BIO_get_mem_data(bio, &data)) > 0) {
        text = staple_http_printable(data, (apr_size_t)len, 500, p);
    }
    BIO_free(bio);
    return text;
}

static const char *hex_text(const unsigned char *bytes, apr_size_t len,
                            apr_pool_t *p)
{
    char *text = apr_palloc(p, 2 * len + 1);
    apr_size_t i;

    for (i = 0; i < len; i++) {
        apr_snprintf(text + 2 * i, 3, "%02X", bytes[i]);
    }
    text[2 * len] = '\0';
    return text;
}

static const char *responder_text(const OCSP_BASICRESP *basic, apr_pool_t *p)
{
    const ASN1_OCTET_STRING *key = NULL;
    const X509_NAME *name = NULL;

    if (!OCSP_resp_get0_id(basic, &key, &name)) {
        return "";
    }
    return name ? name_text(name, p)
                : apr_pstrcat(p, "key ",
                              hex_text(ASN1_STRING_get0_data(key),
                                       (apr_size_t)ASN1_STRING_length(key),
                                       p), NULL);
}

static const char *algorithm_text(const OCSP_BASICRESP *basic, apr_pool_t *p)
{
    const ASN1_OBJECT *object;
    char text[80];

    X509_ALGOR_get0(&object, NULL, NULL, OCSP_resp_get0_tbs_sigalg(basic));
    OBJ_obj2txt(text, sizeof(text), object, 0);
    return staple_http_printable(text, strlen(text), sizeof(text), p);
}

static const char *serial_text(OCSP_SINGLERESP *single, apr_pool_t *p)
{
    ASN1_INTEGER *serial = NULL;
    BIGNUM *number;
    const char *text;
    char *hex;

    OCSP_id_get0_info(NULL, NULL, NULL, &serial,
                      (OCSP_CERTID *)OCSP_SINGLERESP_get0_id(single));
    number = ASN1_INTEGER_to_BN(serial, NULL);
    hex = number ? BN_bn2hex(number) : NULL;
    text = apr_pstrdup(p, hex ? hex : "");
    OPENSSL_free(hex);
    BN_free(number);
    return text;
}

static staplectl_response_t *read_basic(OCSP_BASICRESP *basic, apr_pool_t *p)
{
    staplectl_response_t *response = apr_pcalloc(p, sizeof(*response));
    OCSP_SINGLERESP *single = OCSP_resp_get0(basic, 0);
    ASN1_GENERALIZEDTIME *revoked_at = NULL;
    int reason = -1;

    response->responder = responder_text(basic, p);
    response->algorithm = algorithm_text(basic, p);
    staple_ocsp_read_time(OCSP_resp_get0_produced_at(basic),
                          &response->produced_at);
    response->serial = single ? serial_text(single, p) : "";
    if (single
        && OCSP_single_get0_status(single, &reason, &revoked_at, NULL, NULL)
           == V_OCSP_CERTSTATUS_REVOKED) {
        staple_ocsp_read_time(revoked_at, &response->revoked_at);
    }
    response->crl_reason = reason;
    return response;
}

static staplectl_response_t *read_response(const unsigned char *der,
                                           apr_size_t len, apr_pool_t *p)
{
    OCSP_RESPONSE *whole = d2i_OCSP_RESPONSE(NULL, &der, (long)len);
    OCSP_BASICRESP *basic = whole ? OCSP_response_get1_basic(whole) : NULL;
    staplectl_response_t *response = basic ? read_basic(basic, p) : NULL;

    OCSP_BASICRESP_free(basic);
    OCSP_RESPONSE_free(whole);
    ERR_clear_error();
    return response;
}

/* ----- entries ----- */

const char *staplectl_verdict_word(staplectl_verdict_e verdict)
{
    switch (verdict) {
    case STAPLECTL_STAPLED:
        return "stapled";
    case STAPLECTL_NEEDLESS:
        return "needless";
    case STAPLECTL_PENDING:
        return "pending";
    case STAPLECTL_WAITING:
        return "waiting";
    case STAPLECTL_ERROR:
        return "error";
    case STAPLECTL_EXPIRED:
        return "expired";
    case STAPLECTL_MISSING:
        return "missing";
    case STAPLECTL_UNTRUE:
        return "untrue";
    case STAPLECTL_REVOKED:
        return "revoked";
    }
    return "unknown";
}

/* Clients refuse a staple whose signer's certificate has expired. */
static apr_time_t end_of(const staple_ocsp_verdict_t *verdict)
{
    return verdict->signer_until
           && (!verdict->next_update
               || verdict->signer_until < verdict->next_update)
           ? verdict->signer_until : verdict->next_update;
}

/* With the issuer known, what the module itself would say of the bytes. */
static staplectl_verdict_e judge(staplectl_entry_t *entry,
                                 const staple_ocsp_policy_t *times,
                                 apr_time_t now)
{
    staple_ocsp_verdict_t verdict;

    entry->reason = staple_ocsp_judge(&verdict, entry->cert->subject, times,
                                      now, entry->der, entry->der_len);
    if (!entry->meta.this_update) { /* it comes from no ring */
        entry->meta.this_update = verdict.this_update;
        entry->meta.next_update = end_of(&verdict);
        entry->meta.status = (apr_uint32_t)verdict.status;
    }
    switch (entry->reason) {
    case STAPLE_OCSP_OK:
        return verdict.status == STAPLE_OCSP_REVOKED ? STAPLECTL_REVOKED
               : verdict.status == STAPLE_OCSP_GOOD ? STAPLECTL_STAPLED
               : STAPLECTL_ERROR;
    case STAPLE_OCSP_NOT_YET_VALID:
    case STAPLE_OCSP_EXPIRED:
    case STAPLE_OCSP_TOO_OLD:
        return STAPLECTL_EXPIRED;
    case STAPLE_OCSP_MALFORMED_REQUEST:
    case STAPLE_OCSP_INTERNAL_ERROR:
    case STAPLE_OCSP_TRY_LATER:
    case STAPLE_OCSP_SIG_REQUIRED:
    case STAPLE_OCSP_UNAUTHORIZED:
        return STAPLECTL_ERROR;
    default:
        return STAPLECTL_UNTRUE;
    }
}

static staplectl_verdict_e verdict_of(staplectl_entry_t *entry,
                                      const staple_cert_policy_t *policy,
                                      apr_time_t now)
{
    if (!entry->der) {
        return entry->cert && entry->cert->scope != STAPLE_CERT_APPLIES
               ? STAPLECTL_NEEDLESS
               : entry->has_state && !entry->state.last_attempt
               ? STAPLECTL_WAITING : STAPLECTL_MISSING;
    }
    if (entry->meta.flags & STAPLE_REFRESH_IS_ERROR) {
        return STAPLECTL_ERROR;
    }
    if (entry->is_judged && entry->cert->subject) {
        return judge(entry, &policy->times, now);
    }
    if (!staple_refresh_may_serve(policy, &entry->meta, now)) {
        return STAPLECTL_EXPIRED;
    }
    return entry->meta.status == STAPLE_OCSP_REVOKED ? STAPLECTL_REVOKED
                                                     : STAPLECTL_STAPLED;
}

void staplectl_entry_judge(staplectl_entry_t *entry, apr_time_t now,
                           apr_pool_t *p)
{
    staple_cert_policy_t policy = usual_policy(p);
    int is_pending = entry->verdict == STAPLECTL_PENDING;

    entry->verdict = verdict_of(entry, &policy, now);
    if (is_pending && entry->verdict == STAPLECTL_STAPLED) {
        entry->verdict = STAPLECTL_PENDING;
    }
    if (entry->der) {
        entry->response = read_response(entry->der, entry->der_len, p);
        entry->until = staple_refresh_serve_until(&policy, &entry->meta);
    }
}

static const leaf_t *find_leaf(const staplectl_certs_t *certs,
                               const unsigned char *id)
{
    int i;

    for (i = 0; i < certs->leaves->nelts; i++) {
        const leaf_t *leaf = &APR_ARRAY_IDX(certs->leaves, i, leaf_t);

        if (!memcmp(leaf->cert->id, id, STAPLE_CACHE_ID_LEN)) {
            return leaf;
        }
    }
    return NULL;
}

static void read_slot(const staple_cache_t *cache, int slot,
                      staplectl_entry_t *entry, apr_pool_t *p)
{
    static unsigned char buf[STAPLE_CACHE_DER_MAX];
    apr_status_t rv = staple_cache_read(cache, slot, buf, STAPLE_CACHE_DER_MAX,
                                        &entry->der_len, &entry->meta);

    if (rv) {
        rv = staple_cache_read_pending(cache, slot, buf, STAPLE_CACHE_DER_MAX,
                                       &entry->der_len, &entry->meta);
        entry->verdict = STAPLECTL_PENDING;
    }
    if (!rv) {
        entry->der = apr_pmemdup(p, buf, entry->der_len);
    }
    staple_cache_state(cache, slot, &entry->state);
    entry->has_state = 1;
}

static staplectl_entry_t *push_entry(apr_array_header_t *entries)
{
    staplectl_entry_t *entry = apr_array_push(entries);

    memset(entry, 0, sizeof(*entry));
    entry->host = "";
    return entry;
}

/* Certificates that were given and that the server does not know. */
static void add_strangers(apr_array_header_t *entries,
                          const staple_cache_t *cache,
                          const staplectl_certs_t *certs, apr_time_t now,
                          apr_pool_t *p)
{
    int i;

    for (i = 0; i < certs->leaves->nelts; i++) {
        const leaf_t *leaf = &APR_ARRAY_IDX(certs->leaves, i, leaf_t);

        if (staple_cache_find(cache, leaf->cert->id) < 0) {
            staplectl_entry_t *entry = push_entry(entries);

            name_entry(entry, leaf);
            staplectl_entry_judge(entry, now, p);
        }
    }
}

static staplectl_ring_t *copy_ring(const staple_cache_t *cache,
                                   const staplectl_certs_t *certs,
                                   const char *path, apr_time_t now,
                                   apr_pool_t *p)
{
    staplectl_ring_t *ring = apr_pcalloc(p, sizeof(*ring));
    int count = (int)staple_cache_count(cache);
    int slot;

    ring->path = path;
    staple_cache_usage(cache, &ring->usage);
    staple_cache_share(cache, &ring->share);
    ring->entries = apr_array_make(p, count + 1, sizeof(staplectl_entry_t));
    for (slot = 0; slot < count; slot++) {
        staplectl_entry_t *entry = push_entry(ring->entries);
        const unsigned char *id = staple_cache_id(cache, slot);
        const char *name = staple_cache_name(cache, slot);
        const leaf_t *leaf = find_leaf(certs, id);

        if (leaf) {
            name_entry(entry, leaf);
        }
        entry->id = apr_pmemdup(p, id, STAPLE_CACHE_ID_LEN);
        entry->host = staple_http_printable(name, strlen(name),
                                            STAPLE_CACHE_NAME_LEN, p);
        read_slot(cache, slot, entry, p);
        staplectl_entry_judge(entry, now, p);
    }
    add_strangers(ring->entries, cache, certs, now, p);
    return ring;
}

/* A response came once and cannot be read: perhaps it was being replaced. */
static int has_gaps(const staplectl_ring_t *ring)
{
    int i;

    for (i = 0; i < ring->entries->nelts; i++) {
        const staplectl_entry_t *entry
            = &APR_ARRAY_IDX(ring->entries, i, staplectl_entry_t);

        if (!entry->der && entry->state.last_success) {
            return 1;
        }
    }
    return 0;
}

const char *staplectl_ring_load(staplectl_ring_t **ring, const char *path,
                                const staplectl_certs_t *certs,
                                apr_time_t now, apr_pool_t *p)
{
    const char *reason;
    staple_cache_t *cache;
    int tries;

    for (tries = 0; tries < TRIES; tries++) {
        if (staple_cache_open_file(&cache, path, &reason, p)) {
            return apr_psprintf(p, "%s %s", path,
                                reason ? reason : "does not exist");
        }
        *ring = copy_ring(cache, certs, path, now, p);
        staple_cache_unmap(cache);
        if (!has_gaps(*ring)) {
            break;
        }
    }
    return NULL;
}

/* ----- naming an entry ----- */

const char *staplectl_entry_serial(const staplectl_entry_t *entry)
{
    return entry->cert ? entry->cert->serial
           : entry->response ? entry->response->serial : "";
}

const char *staplectl_entry_name(const staplectl_entry_t *entry, apr_pool_t *p)
{
    const char *serial = staplectl_entry_serial(entry);

    if (entry->cert) {
        return entry->cert->name;
    }
    if (*entry->host) {
        return entry->host;
    }
    return *serial ? apr_pstrcat(p, "serial ", serial, NULL)
                   : apr_pstrcat(p, "fingerprint ",
                                 hex_text(entry->id, ID_SHOWN, p), NULL);
}

/* The next hexadecimal digit, in upper case; 0 at the end, -1 at anything
 * else. Colons are passed over. */
static int next_digit(const char **text)
{
    while (**text == ':') {
        (*text)++;
    }
    if (!**text) {
        return 0;
    }
    return apr_isxdigit(**text) ? apr_toupper(*(*text)++) : -1;
}

static const char *skip_zeros(const char *hex)
{
    return hex + strspn(hex, "0:");
}

/* Whether all digits of pattern begin hex; *left says whether hex goes on. */
static int is_prefix(const char *pattern, const char *hex, int *digits,
                     int *left)
{
    int digit;

    for (*digits = 0; (digit = next_digit(&pattern)) > 0; (*digits)++) {
        if (next_digit(&hex) != digit) {
            return 0;
        }
    }
    *left = next_digit(&hex) > 0;
    return digit == 0;
}

static int is_serial(const char *pattern, const char *serial)
{
    int digits, left;

    return *serial && is_prefix(skip_zeros(pattern), skip_zeros(serial),
                                &digits, &left)
           && digits && !left;
}

static int is_id(const char *pattern, const unsigned char *id)
{
    char hex[2 * STAPLE_CACHE_ID_LEN + 1];
    int digits, left, i;

    for (i = 0; i < STAPLE_CACHE_ID_LEN; i++) {
        apr_snprintf(hex + 2 * i, 3, "%02X", id[i]);
    }
    return is_prefix(pattern, hex, &digits, &left) && digits >= ID_DIGITS_MIN;
}

/* Of a name that had no room, the end has to do. */
static int is_host(const char *pattern, const char *host)
{
    apr_size_t len = strlen(pattern), cut = strlen(STAPLE_CACHE_NAME_CUT);
    const char *port = strrchr(host, ':');
    apr_size_t host_len = port && !strchr(pattern, ':')
                          ? (apr_size_t)(port - host) : strlen(host);

    if (!strncmp(host, STAPLE_CACHE_NAME_CUT, cut) && len > host_len - cut) {
        host += cut;
        host_len -= cut;
        pattern += len - host_len;
        len = host_len;
    }
    return len && len == host_len && !apr_cstr_casecmpn(pattern, host, len);
}

int staplectl_entry_matches(const staplectl_entry_t *entry,
                            const char *pattern)
{
    if (is_host(pattern, entry->host)) {
        return 1;
    }
    if (entry->leaf
        && (X509_check_host(entry->leaf, pattern, 0, 0, NULL) == 1
            || !apr_cstr_casecmp(pattern, entry->cert->name))) {
        return 1;
    }
    return is_serial(pattern, staplectl_entry_serial(entry))
           || is_id(pattern, entry->id);
}
