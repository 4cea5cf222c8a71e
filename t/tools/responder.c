/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * An OCSP responder that can be told to lie.
 *
 * It answers for any certificate of the CAs it was given, GET and POST, one
 * thread for each connection, so that an answer held back holds back nobody
 * else. What it answers is switched while it runs, for all certificates or
 * for one, over a line protocol on a second port.
 *
 * The one idea: an answer is made in layers that do not know each other, and
 * a lie is a setting of one layer: what the response says and who signs it
 * (answer, signer, times), how HTTP wraps it (status, framing, headers), and
 * how the bytes travel (delivery). A certificate's own settings are laid over
 * the general ones layer by layer.
 *
 *   responder --issuer ca.pem ca.key [--issuer ...] [--bind 127.0.0.1]
 *             [--port 0] [--control-port 0] [--tied]
 *
 * At start it prints `port N`, `control N` and `ready` on standard output; it
 * ends on SIGTERM, SIGINT or `quit`, and with --tied when its standard input
 * ends. The commands are listed by --help and by `help`; they are the table
 * `commands` below. On the control port:
 *
 *   slow 500                     every answer takes half a second
 *   @0A1B revoked                the certificate with serial 0A1B is revoked
 *   good | http 503 120          all healed, then one fault, in one answer
 *   @0A1B clear                  forget what was said about 0A1B
 *
 * Each line is answered by data lines that begin with "- " and a last line
 * that begins with "ok" or "error". Not for use outside of tests.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* accept4, memmem, POLLRDHUP */
#endif

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#define ISSUERS_MAX  16
#define CONTROLS_MAX 16
#define REQUEST_MAX  (64 * 1024)
#define LINE_MAX_LEN 4096
#define SERIAL_LEN   128
#define DAY          86400L

/* ----- Settings: what may be lied about, and how it is merged ----- */

enum aspect {
    ASPECT_ANSWER    = 1 << 0,
    ASPECT_SIGNER    = 1 << 1,
    ASPECT_DELIVERY  = 1 << 2,
    ASPECT_STATUS    = 1 << 3,
    ASPECT_VALIDITY  = 1 << 4,
    ASPECT_FRAMING   = 1 << 5,
    ASPECT_TYPE      = 1 << 6,
    ASPECT_HEADERS   = 1 << 7,
    ASPECT_ETAG      = 1 << 8,
    ASPECT_HASH      = 1 << 9,
    ASPECT_METHOD    = 1 << 10,
    ASPECT_RESPONDER = 1 << 11,
    ASPECT_DIGEST    = 1 << 12,
    /* What `good` heals. */
    ASPECTS_FAULT    = ASPECT_ANSWER | ASPECT_SIGNER | ASPECT_DELIVERY
                       | ASPECT_STATUS
};

enum answer {
    ANSWER_GOOD,
    ANSWER_REVOKED,
    ANSWER_UNKNOWN,
    ANSWER_EXPIRED,      /* nextUpdate passed */
    ANSWER_NOTYET,       /* thisUpdate to come */
    ANSWER_NONEXT,       /* without nextUpdate */
    ANSWER_OTHERCERT,    /* for the next serial */
    ANSWER_OTHERISSUER,  /* a stranger's answer about the same serial */
    ANSWER_SEVERAL,      /* ours behind another SingleResponse */
    ANSWER_CRITICAL,     /* with an unknown critical extension */
    ANSWER_BIG,          /* true, with an extension of `size` bytes */
    ANSWER_BADSIG,       /* one bit of the signature flipped */
    ANSWER_TRUNCATED,    /* the first half of the DER, honestly announced */
    ANSWER_LONG,         /* the DER followed by zeros up to `size` bytes */
    ANSWER_GARBAGE,      /* `size` bytes that are no OCSP */
    ANSWER_ERROR         /* an OCSPResponseStatus other than successful */
};

enum signer {
    SIGNER_ISSUER,
    SIGNER_STRANGER,           /* a CA that nobody trusts */
    SIGNER_DELEGATE,           /* as RFC 6960 4.2.2.2 wants it */
    SIGNER_DELEGATE_NOEKU,
    SIGNER_DELEGATE_EXPIRED,
    SIGNER_DELEGATE_STRANGER,  /* right in all but who made it */
    SIGNERS
};

enum delivery {
    DELIVERY_PROMPT,
    DELIVERY_SLOW,         /* `ms` before the answer */
    DELIVERY_HANG_BEFORE,  /* nothing, for ever */
    DELIVERY_HANG_MIDDLE,  /* half of it, then nothing for ever */
    DELIVERY_DRIP,         /* `ms` after each byte */
    DELIVERY_CUT,          /* half of it, then an orderly close */
    DELIVERY_DROP,         /* an orderly close instead of an answer */
    DELIVERY_RESET         /* a TCP reset instead of an answer */
};

enum framing {
    FRAMING_LENGTH,
    FRAMING_CHUNKED,
    FRAMING_CLOSE,   /* HTTP/1.1 without a length: the close is the end */
    FRAMING_HTTP10
};

/* One for all certificates and one for each that was named; guarded by
 * the lock. */
typedef struct settings_t {
    unsigned given;          /* the aspects that were set */
    enum answer answer;
    long size;               /* bytes, see enum answer */
    int ocsp_status;         /* of ANSWER_ERROR */
    long revoked_ago;        /* seconds */
    int reason;              /* CRLReason, -1: none */
    enum signer signer;
    enum delivery delivery;
    int ms;
    int status;              /* of HTTP */
    char status_header[512]; /* a whole line, Retry-After or Location */
    long this_update;        /* seconds from now */
    long next_update;
    enum framing framing;
    char type[128];          /* Content-Type; empty: none is sent */
    char headers[1024];      /* whole lines */
    char etag[128];          /* with its quotes; empty: none */
    int only_hash;           /* the NID of the CertID hash served, 0: any */
    char only_method[8];     /* empty: any */
    int by_key;              /* ResponderID byKey */
    char digest[16];         /* of the signature */
} settings_t;

typedef struct override_t {
    char serial[SERIAL_LEN];
    settings_t settings;
    struct override_t *next;
} override_t;

static const settings_t initial_settings = {
    .reason = -1,
    .revoked_ago = DAY,
    .status = 200,
    .this_update = -60,
    .next_update = 4 * DAY,
    .type = "application/ocsp-response",
    .digest = "sha256"
};

/* Lay what was set in `over` on top. */
static void overlay(settings_t *s, const settings_t *over)
{
    if (over->given & ASPECT_ANSWER) {
        s->answer = over->answer;
        s->size = over->size;
        s->ocsp_status = over->ocsp_status;
        s->revoked_ago = over->revoked_ago;
        s->reason = over->reason;
    }
    if (over->given & ASPECT_SIGNER) {
        s->signer = over->signer;
    }
    if (over->given & ASPECT_DELIVERY) {
        s->delivery = over->delivery;
        s->ms = over->ms;
    }
    if (over->given & ASPECT_STATUS) {
        s->status = over->status;
        memcpy(s->status_header, over->status_header,
               sizeof(s->status_header));
    }
    if (over->given & ASPECT_VALIDITY) {
        s->this_update = over->this_update;
        s->next_update = over->next_update;
    }
    if (over->given & ASPECT_FRAMING) {
        s->framing = over->framing;
    }
    if (over->given & ASPECT_TYPE) {
        memcpy(s->type, over->type, sizeof(s->type));
    }
    if (over->given & ASPECT_HEADERS) {
        memcpy(s->headers, over->headers, sizeof(s->headers));
    }
    if (over->given & ASPECT_ETAG) {
        memcpy(s->etag, over->etag, sizeof(s->etag));
    }
    if (over->given & ASPECT_HASH) {
        s->only_hash = over->only_hash;
    }
    if (over->given & ASPECT_METHOD) {
        memcpy(s->only_method, over->only_method, sizeof(s->only_method));
    }
    if (over->given & ASPECT_RESPONDER) {
        s->by_key = over->by_key;
    }
    if (over->given & ASPECT_DIGEST) {
        memcpy(s->digest, over->digest, sizeof(s->digest));
    }
}

/* ----- State of the process ----- */

typedef struct identity_t {
    X509 *cert;
    EVP_PKEY *key;
} identity_t;

typedef struct issuer_t {
    identity_t signers[SIGNERS]; /* by enum signer */
} issuer_t;

typedef struct entry_t {
    char *line;
    char serial[SERIAL_LEN];
} entry_t;

typedef struct conn_t {
    int fd;
    unsigned long number;
    char in[REQUEST_MAX];
    size_t in_len;
    struct conn_t *prev, *next;
} conn_t;

static issuer_t issuers[ISSUERS_MAX];
static int issuers_count;
static identity_t stranger;

/* Everything below is guarded by the lock. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t conn_gone = PTHREAD_COND_INITIALIZER;
static settings_t general;
static override_t *overrides;
static entry_t *entries;
static size_t entries_count, entries_room;
static char *last_head;
static conn_t *conns;
static struct {
    unsigned long accepted, open, max_open, busy, max_busy;
} load;

static int stop_pipe[2];

__attribute__((noreturn, format(printf, 1, 2)))
static void die(const char *fmt, ...)
{
    va_list ap;

    fprintf(stderr, "responder: ");
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, "\n");
    ERR_print_errors_fp(stderr);
    exit(1);
}

static void *must(void *p)
{
    if (!p) {
        die("out of memory, or OpenSSL refused");
    }
    return p;
}

static int bio_len(BIO *bio, char **data)
{
    long len = BIO_get_mem_data(bio, data);

    return len > INT_MAX ? INT_MAX : (int)len;
}

/* ----- The CAs and their delegates ----- */

static EVP_PKEY *make_key(void)
{
    EVP_PKEY_CTX *ctx = must(EVP_PKEY_CTX_new_id(EVP_PKEY_EC, NULL));
    EVP_PKEY *key = NULL;

    if (EVP_PKEY_keygen_init(ctx) <= 0
        || EVP_PKEY_CTX_set_ec_paramgen_curve_nid(ctx, NID_X9_62_prime256v1)
           <= 0
        || EVP_PKEY_keygen(ctx, &key) <= 0) {
        die("cannot make a key");
    }
    EVP_PKEY_CTX_free(ctx);
    return key;
}

static void add_ext(X509 *cert, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *ext;

    X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
    ext = must(X509V3_EXT_conf_nid(NULL, &ctx, nid, value));
    X509_add_ext(cert, ext, -1);
    X509_EXTENSION_free(ext);
}

/* A certificate for `key`, made by `ca` (NULL: by itself), that began
 * `from` seconds from now and ends `to` seconds from now. */
static X509 *make_cert(const char *name, EVP_PKEY *key, const identity_t *ca,
                       int is_delegate, long from, long to)
{
    static long serial = 1000;
    X509 *cert = must(X509_new());
    X509_NAME *subject = must(X509_NAME_new());

    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                               (const unsigned char *)name, -1, -1, 0);
    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(cert), from);
    X509_gmtime_adj(X509_getm_notAfter(cert), to);
    X509_set_subject_name(cert, subject);
    X509_set_issuer_name(cert, ca ? X509_get_subject_name(ca->cert) : subject);
    X509_set_pubkey(cert, key);
    if (!ca) {
        add_ext(cert, NID_basic_constraints, "critical,CA:TRUE");
    }
    if (is_delegate) {
        add_ext(cert, NID_ext_key_usage, "OCSPSigning");
        add_ext(cert, NID_id_pkix_OCSP_noCheck, "NULL");
    }
    if (!X509_sign(cert, ca ? ca->key : key, EVP_sha256())) {
        die("cannot sign a certificate");
    }
    X509_NAME_free(subject);
    return cert;
}

static identity_t delegate_of(const identity_t *ca, EVP_PKEY *key,
                              int has_eku, long from, long to)
{
    identity_t d;

    d.cert = make_cert("test OCSP delegate", key, ca, has_eku, from, to);
    d.key = key;
    EVP_PKEY_up_ref(key);
    return d;
}

static FILE *open_pem(const char *path)
{
    FILE *f = fopen(path, "r");

    if (!f) {
        die("cannot read %s: %s", path, strerror(errno));
    }
    return f;
}

static void load_issuer(const char *cert_path, const char *key_path)
{
    issuer_t *issuer = &issuers[issuers_count];
    identity_t *ca = &issuer->signers[SIGNER_ISSUER];
    FILE *f;

    if (issuers_count == ISSUERS_MAX) {
        die("more than %d issuers", ISSUERS_MAX);
    }
    f = open_pem(cert_path);
    ca->cert = PEM_read_X509(f, NULL, NULL, NULL);
    fclose(f);
    f = open_pem(key_path);
    ca->key = PEM_read_PrivateKey(f, NULL, NULL, NULL);
    fclose(f);
    if (!ca->cert || !ca->key || !X509_check_private_key(ca->cert, ca->key)) {
        die("%s and %s are no certificate and its key", cert_path, key_path);
    }
    issuers_count++;
}

static void make_signers(void)
{
    EVP_PKEY *key = make_key();
    int i;

    stranger.key = make_key();
    stranger.cert = make_cert("stranger", stranger.key, NULL, 0, -DAY,
                              30 * DAY);
    for (i = 0; i < issuers_count; i++) {
        identity_t *s = issuers[i].signers;
        const identity_t *ca = &s[SIGNER_ISSUER];

        s[SIGNER_DELEGATE] = delegate_of(ca, key, 1, -DAY, 30 * DAY);
        s[SIGNER_DELEGATE_NOEKU] = delegate_of(ca, key, 0, -DAY, 30 * DAY);
        s[SIGNER_DELEGATE_EXPIRED] = delegate_of(ca, key, 1, -9 * DAY, -DAY);
        s[SIGNER_DELEGATE_STRANGER] = delegate_of(&stranger, key, 1, -DAY,
                                                  30 * DAY);
        s[SIGNER_STRANGER] = stranger;
        X509_up_ref(stranger.cert);
        EVP_PKEY_up_ref(stranger.key);
    }
    EVP_PKEY_free(key);
}

static void free_signers(void)
{
    int i, j;

    for (i = 0; i < issuers_count; i++) {
        for (j = 0; j < SIGNERS; j++) {
            X509_free(issuers[i].signers[j].cert);
            EVP_PKEY_free(issuers[i].signers[j].key);
        }
    }
    X509_free(stranger.cert);
    EVP_PKEY_free(stranger.key);
}

static const EVP_MD *certid_md(OCSP_CERTID *id)
{
    ASN1_OBJECT *md = NULL;

    OCSP_id_get0_info(NULL, &md, NULL, NULL, id);
    return EVP_get_digestbyobj(md);
}

static const issuer_t *find_issuer(OCSP_CERTID *id)
{
    const EVP_MD *md = certid_md(id);
    int i;

    for (i = 0; md && i < issuers_count; i++) {
        X509 *cert = issuers[i].signers[SIGNER_ISSUER].cert;
        OCSP_CERTID *own = OCSP_cert_to_id(md, NULL, cert);
        int is_it = own && !OCSP_id_issuer_cmp(own, id);

        OCSP_CERTID_free(own);
        if (is_it) {
            return &issuers[i];
        }
    }
    return NULL;
}

/* ----- OCSP: what the response says ----- */

/* A CertID like `id` but for the next serial. */
static OCSP_CERTID *next_certid(OCSP_CERTID *id)
{
    OCSP_CERTID *other = must(OCSP_CERTID_dup(id));
    ASN1_INTEGER *serial = NULL;
    BIGNUM *bn;

    OCSP_id_get0_info(NULL, NULL, NULL, &serial, other);
    bn = must(ASN1_INTEGER_to_BN(serial, NULL));
    BN_add_word(bn, 1);
    BN_to_ASN1_INTEGER(bn, serial);
    BN_free(bn);
    return other;
}

/* A CertID like `id` but of the stranger. */
static OCSP_CERTID *strange_certid(OCSP_CERTID *id)
{
    ASN1_INTEGER *serial = NULL;

    OCSP_id_get0_info(NULL, NULL, NULL, &serial, id);
    return must(OCSP_cert_id_new(certid_md(id),
                                 X509_get_subject_name(stranger.cert),
                                 X509_get0_pubkey_bitstr(stranger.cert),
                                 serial));
}

static void add_single(OCSP_BASICRESP *basic, OCSP_CERTID *id,
                       const settings_t *s)
{
    long from = s->this_update, to = s->next_update;
    int status = V_OCSP_CERTSTATUS_GOOD;
    ASN1_TIME *this_update, *next_update, *revoked;

    if (s->answer == ANSWER_EXPIRED) {
        from = -2 * DAY;
        to = -DAY;
    }
    else if (s->answer == ANSWER_NOTYET) {
        from = DAY;
        to = 2 * DAY;
    }
    else if (s->answer == ANSWER_REVOKED) {
        status = V_OCSP_CERTSTATUS_REVOKED;
    }
    else if (s->answer == ANSWER_UNKNOWN) {
        status = V_OCSP_CERTSTATUS_UNKNOWN;
    }
    this_update = X509_gmtime_adj(NULL, from);
    next_update = s->answer == ANSWER_NONEXT ? NULL
                                             : X509_gmtime_adj(NULL, to);
    revoked = X509_gmtime_adj(NULL, -s->revoked_ago);
    OCSP_basic_add1_status(basic, id, status, s->reason, revoked, this_update,
                           next_update);
    ASN1_TIME_free(this_update);
    ASN1_TIME_free(next_update);
    ASN1_TIME_free(revoked);
}

static void add_response_ext(OCSP_BASICRESP *basic, int is_critical, long size)
{
    ASN1_OBJECT *oid = must(OBJ_txt2obj("1.3.6.1.4.1.32473.1", 1));
    ASN1_OCTET_STRING *value = must(ASN1_OCTET_STRING_new());
    unsigned char *bytes = must(OPENSSL_zalloc((size_t)size + 1));
    X509_EXTENSION *ext;

    ASN1_OCTET_STRING_set(value, bytes, (int)size);
    ext = must(X509_EXTENSION_create_by_OBJ(NULL, oid, is_critical, value));
    OCSP_BASICRESP_add_ext(basic, ext, -1);
    X509_EXTENSION_free(ext);
    OPENSSL_free(bytes);
    ASN1_OCTET_STRING_free(value);
    ASN1_OBJECT_free(oid);
}

static void sign(OCSP_BASICRESP *basic, const settings_t *s,
                 const issuer_t *issuer)
{
    enum signer who = s->answer == ANSWER_OTHERISSUER ? SIGNER_STRANGER
                                                      : s->signer;
    const identity_t *by = &issuer->signers[who];
    const EVP_MD *md = EVP_get_digestbyname(s->digest);
    unsigned long flags = s->by_key ? OCSP_RESPID_KEY : 0;

    if (who == SIGNER_ISSUER) {
        flags |= OCSP_NOCERTS;
    }
    if (!OCSP_basic_sign(basic, by->cert, by->key, md, NULL, flags)) {
        ERR_print_errors_fp(stderr);
    }
    if (s->answer == ANSWER_BADSIG) {
        const ASN1_OCTET_STRING *sig = OCSP_resp_get0_signature(basic);

        sig->data[sig->length - 1] ^= 1;
    }
}

static OCSP_BASICRESP *make_basic(OCSP_CERTID *id, const settings_t *s,
                                  const issuer_t *issuer)
{
    OCSP_BASICRESP *basic = must(OCSP_BASICRESP_new());
    OCSP_CERTID *other = NULL;

    switch (s->answer) {
    case ANSWER_OTHERCERT:
    case ANSWER_SEVERAL:
        other = next_certid(id);
        break;
    case ANSWER_OTHERISSUER:
        other = strange_certid(id);
        break;
    case ANSWER_CRITICAL:
        add_response_ext(basic, 1, 4);
        break;
    case ANSWER_BIG:
        add_response_ext(basic, 0, s->size);
        break;
    default:
        break;
    }
    if (other) {
        add_single(basic, other, s);
    }
    if (!other || s->answer == ANSWER_SEVERAL) {
        add_single(basic, id, s);
    }
    OCSP_CERTID_free(other);
    sign(basic, s, issuer);
    return basic;
}

static void write_garbage(BIO *body, long size)
{
    static const char text[] = "<html>This is not what you asked for.</html>\n";
    size_t done = 0, want = (size_t)size;

    while (done < want) {
        size_t n = want - done < sizeof(text) - 1 ? want - done
                                                  : sizeof(text) - 1;

        BIO_write(body, text, (int)n);
        done += n;
    }
}

static void write_der(BIO *body, const unsigned char *der, int len,
                      const settings_t *s)
{
    if (s->answer == ANSWER_TRUNCATED) {
        BIO_write(body, der, len / 2);
        return;
    }
    if (s->answer == ANSWER_LONG && s->size < len) {
        len = (int)s->size;
    }
    BIO_write(body, der, len);
    if (s->answer == ANSWER_LONG) {
        static const char zeros[4096];
        long rest = s->size - len;

        while (rest > 0) {
            int n = rest < (long)sizeof(zeros) ? (int)rest
                                               : (int)sizeof(zeros);

            BIO_write(body, zeros, n);
            rest -= n;
        }
    }
}

/* The body of the answer about `id`; NULL: the request was no OCSP. */
static BIO *make_body(OCSP_CERTID *id, const settings_t *s)
{
    BIO *body = must(BIO_new(BIO_s_mem()));
    const issuer_t *issuer = id ? find_issuer(id) : NULL;
    int status = OCSP_RESPONSE_STATUS_SUCCESSFUL;
    OCSP_BASICRESP *basic = NULL;
    OCSP_RESPONSE *response;
    unsigned char *der = NULL;
    int len;

    if (s->answer == ANSWER_GARBAGE) {
        write_garbage(body, s->size);
        return body;
    }
    if (!id) {
        status = OCSP_RESPONSE_STATUS_MALFORMEDREQUEST;
    }
    else if (s->answer == ANSWER_ERROR) {
        status = s->ocsp_status;
    }
    else if (!issuer
             || (s->only_hash && EVP_MD_type(certid_md(id)) != s->only_hash)) {
        status = OCSP_RESPONSE_STATUS_UNAUTHORIZED;
    }
    else {
        basic = make_basic(id, s, issuer);
    }
    response = must(OCSP_response_create(status, basic));
    len = i2d_OCSP_RESPONSE(response, &der);
    if (len > 0) {
        write_der(body, der, len, s);
    }
    OPENSSL_free(der);
    OCSP_RESPONSE_free(response);
    OCSP_BASICRESP_free(basic);
    ERR_clear_error();
    return body;
}

/* ----- HTTP: a request read, an answer framed ----- */

typedef struct request_t {
    char *head;              /* the whole head, NUL-terminated */
    char method[16];
    char *target;
    int minor;               /* of HTTP/1.x */
    const unsigned char *body;
    size_t body_len;
    size_t total_len;        /* of the bytes that it took in conn->in */
    OCSP_REQUEST *ocsp;      /* NULL: none could be read */
    OCSP_CERTID *id;         /* within ocsp */
    char serial[SERIAL_LEN]; /* upper case hex; "-" without an id */
} request_t;

/* The value of a header, copied; "" if there is none. */
static char *header_of(const char *head, const char *name)
{
    size_t name_len = strlen(name);
    const char *line = strchr(head, '\n');

    while (line) {
        line++;
        if (!strncasecmp(line, name, name_len) && line[name_len] == ':') {
            const char *value = line + name_len + 1;

            value += strspn(value, " \t");
            return must(strndup(value, strcspn(value, "\r\n")));
        }
        line = strchr(line, '\n');
    }
    return must(strdup(""));
}

static int header_has(const char *head, const char *name, const char *word)
{
    char *value = header_of(head, name);
    int has = strcasestr(value, word) != NULL;

    free(value);
    return has;
}

static size_t content_length(const char *head)
{
    char *value = header_of(head, "Content-Length");
    unsigned long n = strtoul(value, NULL, 10);

    free(value);
    return n;
}

static OCSP_REQUEST *parse_der(const unsigned char *der, long len)
{
    OCSP_REQUEST *req = d2i_OCSP_REQUEST(NULL, &der, len);

    ERR_clear_error();
    return req;
}

static OCSP_REQUEST *parse_base64(const char *text)
{
    size_t len = strlen(text);
    unsigned char *der;
    OCSP_REQUEST *req = NULL;
    int n;

    if (!len || len % 4) {
        return NULL;
    }
    der = must(malloc(len));
    n = EVP_DecodeBlock(der, (const unsigned char *)text, (int)len);
    if (n > 0) {
        n -= (text[len - 1] == '=') + (text[len - 2] == '=');
        req = parse_der(der, n);
    }
    ERR_clear_error();
    free(der);
    return req;
}

static int unhex(char c)
{
    return isdigit((unsigned char)c) ? c - '0'
                                     : tolower((unsigned char)c) - 'a' + 10;
}

static char *percent_decode(const char *text)
{
    char *out = must(strdup(text)), *w = out;
    const char *r;

    for (r = text; *r; r++) {
        if (*r == '%' && isxdigit((unsigned char)r[1])
            && isxdigit((unsigned char)r[2])) {
            *w++ = (char)(unhex(r[1]) * 16 + unhex(r[2]));
            r += 2;
        }
        else {
            *w++ = *r;
        }
    }
    *w = '\0';
    return out;
}

/* The request in a GET's path: whatever follows a slash and parses, so that
 * any path may come before it, and base64's own slashes do no harm. */
static OCSP_REQUEST *parse_target(const char *target)
{
    char *plain = percent_decode(target);
    const char *slash = strchr(plain, '/');
    OCSP_REQUEST *req = NULL;

    while (slash && !req) {
        req = parse_base64(slash + 1);
        slash = strchr(slash + 1, '/');
    }
    free(plain);
    return req;
}

static void parse_ocsp(request_t *r)
{
    ASN1_INTEGER *serial = NULL;
    BIGNUM *bn;
    char *hex;

    strcpy(r->serial, "-");
    r->ocsp = strcmp(r->method, "GET")
              ? parse_der(r->body, (long)r->body_len)
              : parse_target(r->target);
    if (!r->ocsp || OCSP_request_onereq_count(r->ocsp) < 1) {
        return;
    }
    r->id = OCSP_onereq_get0_id(OCSP_request_onereq_get0(r->ocsp, 0));
    OCSP_id_get0_info(NULL, NULL, NULL, &serial, r->id);
    bn = must(ASN1_INTEGER_to_BN(serial, NULL));
    hex = must(BN_bn2hex(bn));
    snprintf(r->serial, sizeof(r->serial), "%s", hex);
    OPENSSL_free(hex);
    BN_free(bn);
}

static void parse_line(request_t *r)
{
    char *line = must(strndup(r->head, strcspn(r->head, "\r\n")));
    char version[16] = "HTTP/1.0";

    strcpy(r->method, "-");
    r->target = must(calloc(1, strlen(line) + 1));
    sscanf(line, "%15s %s %15s", r->method, r->target, version);
    r->minor = strcmp(version, "HTTP/1.0") != 0;
    free(line);
}

/* Take a whole request out of what has come in.
 * Returns 1 with a request, 0 if more is needed, -1 if it never will be. */
static int parse_request(conn_t *c, request_t *r)
{
    char *end = memmem(c->in, c->in_len, "\r\n\r\n", 4);
    size_t head_len;

    if (!end) {
        return c->in_len == sizeof(c->in) ? -1 : 0;
    }
    head_len = (size_t)(end - c->in) + 4;
    memset(r, 0, sizeof(*r));
    r->head = must(strndup(c->in, head_len));
    r->body_len = content_length(r->head);
    if (r->body_len > sizeof(c->in) - head_len) {
        free(r->head);
        return -1;
    }
    r->total_len = head_len + r->body_len;
    if (c->in_len < r->total_len) {
        free(r->head);
        return 0;
    }
    r->body = (const unsigned char *)c->in + head_len;
    parse_line(r);
    parse_ocsp(r);
    return 1;
}

static void free_request(request_t *r)
{
    free(r->head);
    free(r->target);
    OCSP_REQUEST_free(r->ocsp);
}

static const char *status_text(int status)
{
    switch (status) {
    case 200: return "OK";
    case 204: return "No Content";
    case 301: return "Moved Permanently";
    case 302: return "Found";
    case 304: return "Not Modified";
    case 307: return "Temporary Redirect";
    case 308: return "Permanent Redirect";
    case 400: return "Bad Request";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 429: return "Too Many Requests";
    case 500: return "Internal Server Error";
    case 503: return "Service Unavailable";
    default:  return "Status";
    }
}

static void write_chunked(BIO *out, const char *data, int len)
{
    int done = 0;

    while (done < len) {
        int n = len - done < 100 ? len - done : 100;

        BIO_printf(out, "%x\r\n", (unsigned)n);
        BIO_write(out, data + done, n);
        BIO_write(out, "\r\n", 2);
        done += n;
    }
    BIO_write(out, "0\r\n\r\n", 5);
}

static void write_head(BIO *out, int status, const settings_t *s,
                       int body_len, int is_last)
{
    char date[64];
    time_t now = time(NULL);
    struct tm tm;

    strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT",
             gmtime_r(&now, &tm));
    BIO_printf(out, "HTTP/1.%d %d %s\r\nDate: %s\r\n",
               s->framing == FRAMING_HTTP10 ? 0 : 1, status,
               status_text(status), date);
    if (s->etag[0]) {
        BIO_printf(out, "ETag: %s\r\n", s->etag);
    }
    BIO_puts(out, s->headers);
    if (status == s->status) {
        BIO_puts(out, s->status_header);
    }
    if (status != 304) {
        const char *type = status == 200 ? s->type : "text/html";

        if (*type) {
            BIO_printf(out, "Content-Type: %s\r\n", type);
        }
        if (s->framing == FRAMING_LENGTH) {
            BIO_printf(out, "Content-Length: %d\r\n", body_len);
        }
        else if (s->framing == FRAMING_CHUNKED) {
            BIO_puts(out, "Transfer-Encoding: chunked\r\n");
        }
    }
    BIO_puts(out, is_last ? "Connection: close\r\n\r\n" : "\r\n");
}

static int choose_status(const request_t *r, const settings_t *s)
{
    char *held;
    int is_same;

    if (s->status != 200) {
        return s->status;
    }
    if (s->only_method[0] && strcmp(s->only_method, r->method)) {
        return 405;
    }
    if (!r->id) {
        return 400;
    }
    held = header_of(r->head, "If-None-Match");
    is_same = s->etag[0] && !strcmp(held, s->etag);
    free(held);
    return is_same ? 304 : 200;
}

/* The whole answer as bytes. */
static BIO *make_answer(const request_t *r, const settings_t *s, int is_last)
{
    BIO *out = must(BIO_new(BIO_s_mem()));
    int status = choose_status(r, s);
    BIO *body = NULL;
    char *data;
    int len;

    if (status == 200) {
        body = make_body(r->id, s);
    }
    else {
        body = must(BIO_new(BIO_s_mem()));
        BIO_printf(body, "<html>%d %s</html>\n", status, status_text(status));
    }
    len = bio_len(body, &data);
    write_head(out, status, s, len, is_last);
    if (status == 304) {
        len = 0;
    }
    else if (s->framing == FRAMING_CHUNKED) {
        write_chunked(out, data, len);
    }
    else {
        BIO_write(out, data, len);
    }
    BIO_free(body);
    return out;
}

/* ----- Delivery: how the bytes travel ----- */

/* Wait until `ms` have gone by (-1: for ever) or the client has gone.
 * Returns whether it is still there. A shutdown() by the main thread looks
 * like a client that goes. */
static int linger(int fd, int ms)
{
    struct pollfd p = { .fd = fd, .events = POLLRDHUP };
    int n;

    do {
        n = poll(&p, 1, ms);
    } while (n < 0 && errno == EINTR);
    return n == 0;
}

static int send_all(int fd, const char *data, int len)
{
    while (len > 0) {
        ssize_t n = send(fd, data, (size_t)len, MSG_NOSIGNAL);

        if (n < 0) {
            return 0;
        }
        data += n;
        len -= (int)n;
    }
    return 1;
}

static int send_dripping(int fd, const char *data, int len, int ms)
{
    int i;

    for (i = 0; i < len; i++) {
        if (!send_all(fd, data + i, 1) || !linger(fd, ms)) {
            return 0;
        }
    }
    return 1;
}

static void arm_reset(int fd)
{
    struct linger now = { .l_onoff = 1, .l_linger = 0 };

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

/* Returns whether the connection may go on. */
static int deliver(int fd, BIO *answer, const settings_t *s)
{
    char *data;
    int len = bio_len(answer, &data);

    switch (s->delivery) {
    case DELIVERY_PROMPT:
        return send_all(fd, data, len);
    case DELIVERY_SLOW:
        return linger(fd, s->ms) && send_all(fd, data, len);
    case DELIVERY_DRIP:
        return send_dripping(fd, data, len, s->ms);
    case DELIVERY_HANG_BEFORE:
        linger(fd, -1);
        return 0;
    case DELIVERY_HANG_MIDDLE:
        send_all(fd, data, len / 2);
        linger(fd, -1);
        return 0;
    case DELIVERY_CUT:
        send_all(fd, data, len / 2);
        return 0;
    case DELIVERY_DROP:
        return 0;
    case DELIVERY_RESET:
        arm_reset(fd);
        return 0;
    }
    return 0;
}

/* ----- Connections ----- */

static void settings_for(const char *serial, settings_t *s)
{
    const override_t *o;

    *s = general;
    for (o = overrides; o; o = o->next) {
        if (!strcmp(o->serial, serial)) {
            overlay(s, &o->settings);
        }
    }
}

/* Bytes of a stranger, fit for a line of tab-separated fields. */
static char *printable(char *text)
{
    char *p;

    for (p = text; *p; p++) {
        if ((unsigned char)*p < ' ' || (unsigned char)*p > '~') {
            *p = '?';
        }
    }
    return text;
}

static char *log_line(const request_t *r, unsigned long number)
{
    char *host = header_of(r->head, "Host");
    char *agent = header_of(r->head, "User-Agent");
    BIO *line = must(BIO_new(BIO_s_mem()));
    const EVP_MD *md = r->id ? certid_md(r->id) : NULL;
    struct timespec now;
    char *data, *copy;
    int len;

    clock_gettime(CLOCK_REALTIME, &now);
    BIO_printf(line, "%lld.%06ld\t%s\t%s\t%s\t%lu\t%s\t%s\t%s\t%d\t%d",
               (long long)now.tv_sec, now.tv_nsec / 1000,
               printable((char *)r->method), r->serial,
               md ? OBJ_nid2sn(EVP_MD_type(md)) : "-", number,
               printable(r->target), printable(host), printable(agent),
               r->ocsp ? OCSP_request_onereq_count(r->ocsp) : 0,
               r->ocsp ? OCSP_REQUEST_get_ext_count(r->ocsp) : 0);
    len = bio_len(line, &data);
    copy = must(strndup(data, (size_t)len));
    BIO_free(line);
    free(host);
    free(agent);
    return copy;
}

/* Note the request and say what to answer. */
static void record(const request_t *r, unsigned long number, settings_t *s)
{
    char *line = log_line(r, number);
    entry_t *entry;

    pthread_mutex_lock(&lock);
    if (entries_count == entries_room) {
        entries_room = entries_room ? entries_room * 2 : 256;
        entries = must(realloc(entries, entries_room * sizeof(*entries)));
    }
    entry = &entries[entries_count++];
    entry->line = line;
    memcpy(entry->serial, r->serial, sizeof(entry->serial));
    free(last_head);
    last_head = must(strdup(r->head));
    if (++load.busy > load.max_busy) {
        load.max_busy = load.busy;
    }
    settings_for(r->serial, s);
    pthread_mutex_unlock(&lock);
}

static int answer_request(conn_t *c, request_t *r)
{
    settings_t s;
    BIO *answer;
    int is_last, goes_on;

    record(r, c->number, &s);
    is_last = r->minor ? header_has(r->head, "Connection", "close")
                       : !header_has(r->head, "Connection", "keep-alive");
    if (s.framing == FRAMING_CLOSE || s.framing == FRAMING_HTTP10) {
        is_last = 1;
    }
    answer = make_answer(r, &s, is_last);
    goes_on = deliver(c->fd, answer, &s) && !is_last;
    BIO_free(answer);

    pthread_mutex_lock(&lock);
    load.busy--;
    pthread_mutex_unlock(&lock);
    return goes_on;
}

/* Take the connection off the list before its descriptor can be reused. */
static void end_conn(conn_t *c)
{
    pthread_mutex_lock(&lock);
    if (c->prev) {
        c->prev->next = c->next;
    }
    else {
        conns = c->next;
    }
    if (c->next) {
        c->next->prev = c->prev;
    }
    close(c->fd);
    load.open--;
    free(c);
    pthread_cond_signal(&conn_gone);
    pthread_mutex_unlock(&lock);
}

static void *serve(void *arg)
{
    conn_t *c = arg;
    request_t r;
    ssize_t n;
    int state, goes_on = 1;

    while (goes_on) {
        state = parse_request(c, &r);
        if (state < 0) {
            break;
        }
        if (state == 0) {
            n = recv(c->fd, c->in + c->in_len, sizeof(c->in) - c->in_len, 0);
            if (n <= 0) {
                break;
            }
            c->in_len += (size_t)n;
            continue;
        }
        goes_on = answer_request(c, &r);
        c->in_len -= r.total_len;
        memmove(c->in, c->in + r.total_len, c->in_len);
        free_request(&r);
    }
    OPENSSL_thread_stop();
    end_conn(c);
    return NULL;
}

static void start_conn(int fd)
{
    conn_t *c = must(calloc(1, sizeof(*c)));
    pthread_attr_t attr;
    pthread_t thread;
    int one = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    c->fd = fd;
    pthread_mutex_lock(&lock);
    c->number = ++load.accepted;
    c->next = conns;
    if (conns) {
        conns->prev = c;
    }
    conns = c;
    if (++load.open > load.max_open) {
        load.max_open = load.open;
    }
    pthread_mutex_unlock(&lock);

    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, 512 * 1024);
    if (pthread_create(&thread, &attr, serve, c)) {
        end_conn(c);
    }
    pthread_attr_destroy(&attr);
}

static void end_all_conns(void)
{
    conn_t *c;

    pthread_mutex_lock(&lock);
    for (c = conns; c; c = c->next) {
        shutdown(c->fd, SHUT_RDWR);
    }
    while (conns) {
        pthread_cond_wait(&conn_gone, &lock);
    }
    pthread_mutex_unlock(&lock);
}

/* ----- Listening ----- */

static struct {
    struct sockaddr_storage addr;
    socklen_t len;
    int fd;
    int is_open; /* else bound, so that nobody takes the port, but deaf */
} door;

static unsigned port_of(const struct sockaddr_storage *addr)
{
    return ntohs(addr->ss_family == AF_INET6
                 ? ((const struct sockaddr_in6 *)addr)->sin6_port
                 : ((const struct sockaddr_in *)addr)->sin_port);
}

static int bind_socket(struct sockaddr_storage *addr, socklen_t *len)
{
    int fd = socket(addr->ss_family, SOCK_STREAM | SOCK_CLOEXEC
                    | SOCK_NONBLOCK, 0);
    int one = 1;

    if (fd < 0
        || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one))
        || bind(fd, (struct sockaddr *)addr, *len)
        || getsockname(fd, (struct sockaddr *)addr, len)) {
        die("cannot bind: %s", strerror(errno));
    }
    return fd;
}

static int bind_name(const char *host, const char *port,
                     struct sockaddr_storage *addr, socklen_t *len)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
                              .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV };
    struct addrinfo *found;

    if (getaddrinfo(host, port, &hints, &found)) {
        die("no address: %s port %s", host, port);
    }
    memcpy(addr, found->ai_addr, found->ai_addrlen);
    *len = found->ai_addrlen;
    freeaddrinfo(found);
    return bind_socket(addr, len);
}

static void open_door(void)
{
    if (!door.is_open && listen(door.fd, 1024)) {
        die("cannot listen: %s", strerror(errno));
    }
    door.is_open = 1;
}

/* Refuse connections, keep the port, and end what goes on. */
static void close_door(void)
{
    if (door.is_open) {
        close(door.fd);
        door.fd = bind_socket(&door.addr, &door.len);
        door.is_open = 0;
    }
    end_all_conns();
}

/* ----- Commands ----- */

typedef struct command_t {
    const char *name;
    unsigned aspects; /* what it sets; 0: a command to the process */
    int value;        /* for set */
    const char *(*set)(settings_t *s, const struct command_t *cmd, char *args);
    const char *(*run)(FILE *out, char *args);
    const char *usage;
    const char *help;
} command_t;

/* The next number of args, or what there is without one. */
static const char *take_number(char **args, long otherwise, long *number)
{
    char *end;

    *number = strtol(*args, &end, 10);
    if (end == *args) {
        *number = otherwise;
    }
    if (*end && !isspace((unsigned char)*end)) {
        return "not a number";
    }
    *args = end + strspn(end, " \t");
    return NULL;
}

static const char *put_text(char *to, size_t room, const char *from)
{
    return (size_t)snprintf(to, room, "%s", from) < room ? NULL : "too long";
}

static const char *set_good(settings_t *s, const command_t *cmd, char *args)
{
    settings_t healed = initial_settings;

    (void)args;
    healed.given = cmd->aspects;
    overlay(s, &healed);
    return NULL;
}

static const char *set_answer(settings_t *s, const command_t *cmd, char *args)
{
    s->answer = (enum answer)cmd->value;
    return take_number(&args, 100, &s->size);
}

static const char *set_revoked(settings_t *s, const command_t *cmd, char *args)
{
    const char *problem;
    long reason;

    s->answer = (enum answer)cmd->value;
    problem = take_number(&args, DAY, &s->revoked_ago);
    if (!problem) {
        problem = take_number(&args, -1, &reason);
        s->reason = (int)reason;
    }
    return problem;
}

static const char *set_error(settings_t *s, const command_t *cmd, char *args)
{
    (void)args;
    s->answer = ANSWER_ERROR;
    s->ocsp_status = cmd->value;
    return NULL;
}

static const char *set_signer(settings_t *s, const command_t *cmd, char *args)
{
    (void)args;
    s->signer = (enum signer)cmd->value;
    return NULL;
}

static const char *set_delegated(settings_t *s, const command_t *cmd,
                                 char *args)
{
    static const struct {
        const char *name;
        enum signer signer;
    } kinds[] = {
        { "good", SIGNER_DELEGATE },
        { "no-eku", SIGNER_DELEGATE_NOEKU },
        { "expired", SIGNER_DELEGATE_EXPIRED },
        { "stranger", SIGNER_DELEGATE_STRANGER }
    };
    size_t i;

    (void)cmd;
    for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (!strcmp(args, kinds[i].name)) {
            s->signer = kinds[i].signer;
            return NULL;
        }
    }
    return "good, no-eku, expired or stranger";
}

static const char *set_delivery(settings_t *s, const command_t *cmd,
                                char *args)
{
    const char *problem;
    long ms;

    s->delivery = (enum delivery)cmd->value;
    problem = take_number(&args, 0, &ms);
    s->ms = (int)ms;
    return problem;
}

static const char *set_http(settings_t *s, const command_t *cmd, char *args)
{
    const char *problem;
    long status;

    (void)cmd;
    problem = take_number(&args, 200, &status);
    s->status = (int)status;
    s->status_header[0] = '\0';
    if (*args) {
        snprintf(s->status_header, sizeof(s->status_header),
                 "Retry-After: %.400s\r\n", args);
    }
    return problem;
}

static const char *set_redirect(settings_t *s, const command_t *cmd,
                                char *args)
{
    size_t url_len = strcspn(args, " \t");
    char *rest = args + url_len + strspn(args + url_len, " \t");
    const char *problem;
    long status;

    (void)cmd;
    if (!url_len || url_len > 400) {
        return "a URL of at most 400 bytes";
    }
    problem = take_number(&rest, 302, &status);
    s->status = (int)status;
    snprintf(s->status_header, sizeof(s->status_header),
             "Location: %.*s\r\n", (int)url_len, args);
    return problem;
}

static const char *set_validity(settings_t *s, const command_t *cmd,
                                char *args)
{
    const char *problem;

    (void)cmd;
    problem = take_number(&args, initial_settings.this_update,
                          &s->this_update);
    return problem ? problem
                   : take_number(&args, initial_settings.next_update,
                                 &s->next_update);
}

static const char *set_framing(settings_t *s, const command_t *cmd, char *args)
{
    (void)args;
    s->framing = (enum framing)cmd->value;
    return NULL;
}

static const char *set_type(settings_t *s, const command_t *cmd, char *args)
{
    (void)cmd;
    return put_text(s->type, sizeof(s->type), args);
}

static const char *set_header(settings_t *s, const command_t *cmd, char *args)
{
    size_t len = strlen(s->headers);

    (void)cmd;
    if (len + strlen(args) + 3 > sizeof(s->headers)) {
        return "too many headers";
    }
    snprintf(s->headers + len, sizeof(s->headers) - len, "%s\r\n", args);
    return NULL;
}

static const char *set_no_headers(settings_t *s, const command_t *cmd,
                                  char *args)
{
    (void)cmd;
    (void)args;
    s->headers[0] = '\0';
    return NULL;
}

static const char *set_etag(settings_t *s, const command_t *cmd, char *args)
{
    (void)cmd;
    return put_text(s->etag, sizeof(s->etag), args);
}

static const char *set_hash(settings_t *s, const command_t *cmd, char *args)
{
    (void)args;
    s->only_hash = cmd->value;
    return NULL;
}

static const char *set_method(settings_t *s, const command_t *cmd, char *args)
{
    (void)args;
    strcpy(s->only_method, cmd->value == 'G' ? "GET"
                           : cmd->value == 'P' ? "POST" : "");
    return NULL;
}

static const char *set_by_key(settings_t *s, const command_t *cmd, char *args)
{
    (void)args;
    s->by_key = cmd->value;
    return NULL;
}

static const char *set_digest(settings_t *s, const command_t *cmd, char *args)
{
    (void)cmd;
    return EVP_get_digestbyname(args)
           ? put_text(s->digest, sizeof(s->digest), args)
           : "no such digest";
}

static const char *run_refuse(FILE *out, char *args)
{
    (void)out;
    (void)args;
    close_door();
    return NULL;
}

static const char *run_listen(FILE *out, char *args)
{
    (void)out;
    (void)args;
    open_door();
    return NULL;
}

/* Serials are compared as upper case hex of whole bytes, as OpenSSL has it. */
static const char *normalize_serial(const char *text, char *serial)
{
    BIGNUM *bn = NULL;
    char *hex;

    if (strlen(text) > SERIAL_LEN - 2
        || BN_hex2bn(&bn, text) != (int)strlen(text)) {
        BN_free(bn);
        return "not a serial in hex";
    }
    hex = must(BN_bn2hex(bn));
    strcpy(serial, hex);
    OPENSSL_free(hex);
    BN_free(bn);
    return NULL;
}

static const char *run_count(FILE *out, char *args)
{
    char serial[SERIAL_LEN] = "";
    size_t i, n = 0;

    if (*args) {
        const char *problem = normalize_serial(args, serial);

        if (problem) {
            return problem;
        }
    }
    pthread_mutex_lock(&lock);
    for (i = 0; i < entries_count; i++) {
        n += !*serial || !strcmp(entries[i].serial, serial);
    }
    pthread_mutex_unlock(&lock);
    fprintf(out, "- %lu\n", (unsigned long)n);
    return NULL;
}

static const char *run_log(FILE *out, char *args)
{
    size_t i;

    (void)args;
    pthread_mutex_lock(&lock);
    for (i = 0; i < entries_count; i++) {
        fprintf(out, "- %s\n", entries[i].line);
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

static const char *run_last(FILE *out, char *args)
{
    const char *line;

    (void)args;
    pthread_mutex_lock(&lock);
    for (line = last_head ? last_head : ""; *line; ) {
        size_t len = strcspn(line, "\r\n");

        if (len) {
            fprintf(out, "- %.*s\n", (int)len, line);
        }
        line += len;
        line += strspn(line, "\r\n");
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

static const char *run_stats(FILE *out, char *args)
{
    (void)args;
    pthread_mutex_lock(&lock);
    fprintf(out, "- requests %lu\n- connections %lu\n- open %lu\n"
            "- max-open %lu\n- busy %lu\n- max-busy %lu\n",
            (unsigned long)entries_count, load.accepted, load.open,
            load.max_open, load.busy, load.max_busy);
    pthread_mutex_unlock(&lock);
    return NULL;
}

static void drop_entries(void)
{
    size_t i;

    for (i = 0; i < entries_count; i++) {
        free(entries[i].line);
    }
    entries_count = 0;
    free(last_head);
    last_head = NULL;
}

static const char *run_reset_counters(FILE *out, char *args)
{
    (void)out;
    (void)args;
    pthread_mutex_lock(&lock);
    drop_entries();
    load.accepted = 0;
    load.max_open = load.open;
    load.max_busy = load.busy;
    pthread_mutex_unlock(&lock);
    return NULL;
}

static const char *run_quit(FILE *out, char *args)
{
    (void)out;
    (void)args;
    return write(stop_pipe[1], "q", 1) == 1 ? NULL : strerror(errno);
}

static const char *run_help(FILE *out, char *args);

#define ANSWER(name, value, usage, help) \
    { name, ASPECT_ANSWER, value, set_answer, NULL, usage, help }
#define ERROR(name, value) \
    { name, ASPECT_ANSWER, value, set_error, NULL, "", \
      "the error status of that name" }
#define DELIVERY(name, value, usage, help) \
    { name, ASPECT_DELIVERY, value, set_delivery, NULL, usage, help }
#define FRAMING(name, value, help) \
    { name, ASPECT_FRAMING, value, set_framing, NULL, "", help }
#define PROCESS(name, run, usage, help) \
    { name, 0, 0, NULL, run, usage, help }

static const command_t commands[] = {
    { "good", ASPECTS_FAULT, 0, set_good, NULL, "",
      "the truth, signed by the issuer, with 200, at once: heals the answer, "
      "signer, delivery and HTTP status" },
    { "revoked", ASPECT_ANSWER, ANSWER_REVOKED, set_revoked, NULL,
      "[SECONDS-AGO [REASON]]", "revoked a day ago, without a reason" },
    ANSWER("unknown", ANSWER_UNKNOWN, "", "certStatus unknown"),
    ANSWER("expired", ANSWER_EXPIRED, "", "nextUpdate was yesterday"),
    ANSWER("notyet", ANSWER_NOTYET, "", "thisUpdate is tomorrow"),
    ANSWER("nonext", ANSWER_NONEXT, "", "no nextUpdate"),
    ANSWER("othercert", ANSWER_OTHERCERT, "", "about the next serial"),
    ANSWER("otherissuer", ANSWER_OTHERISSUER, "",
           "about the same serial of a stranger, signed by him"),
    ANSWER("several", ANSWER_SEVERAL, "",
           "true, but behind a SingleResponse for the next serial"),
    ANSWER("critical", ANSWER_CRITICAL, "",
           "with an unknown critical extension"),
    ANSWER("big", ANSWER_BIG, "BYTES", "true, with an extension that large"),
    ANSWER("badsig", ANSWER_BADSIG, "", "a bit of the signature is wrong"),
    ANSWER("truncated", ANSWER_TRUNCATED, "",
           "half of the DER, honestly announced"),
    ANSWER("long", ANSWER_LONG, "BYTES", "the DER and zeros, so long in all"),
    ANSWER("garbage", ANSWER_GARBAGE, "[BYTES]", "no OCSP at all"),
    ERROR("trylater", OCSP_RESPONSE_STATUS_TRYLATER),
    ERROR("malformed", OCSP_RESPONSE_STATUS_MALFORMEDREQUEST),
    ERROR("internal", OCSP_RESPONSE_STATUS_INTERNALERROR),
    ERROR("sigrequired", OCSP_RESPONSE_STATUS_SIGREQUIRED),
    ERROR("unauthorized", OCSP_RESPONSE_STATUS_UNAUTHORIZED),
    { "delegated", ASPECT_SIGNER, 0, set_delegated, NULL,
      "good|no-eku|expired|stranger", "signed by such a delegate" },
    { "othersigner", ASPECT_SIGNER, SIGNER_STRANGER, set_signer, NULL, "",
      "right in all but the CA that signed it" },
    { "by-key", ASPECT_RESPONDER, 1, set_by_key, NULL, "",
      "ResponderID is a key hash" },
    { "by-name", ASPECT_RESPONDER, 0, set_by_key, NULL, "",
      "ResponderID is a name (as at start)" },
    { "digest", ASPECT_DIGEST, 0, set_digest, NULL, "NAME",
      "of the signature: sha256 at start; sha1, md5" },
    { "validity", ASPECT_VALIDITY, 0, set_validity, NULL, "THIS NEXT",
      "thisUpdate and nextUpdate in seconds from now; -60 345600 at start" },
    DELIVERY("prompt", DELIVERY_PROMPT, "", "answer at once"),
    DELIVERY("slow", DELIVERY_SLOW, "MS", "answer after so long"),
    DELIVERY("hang-before", DELIVERY_HANG_BEFORE, "", "never answer"),
    DELIVERY("hang-middle", DELIVERY_HANG_MIDDLE, "",
             "half of the answer, then nothing"),
    DELIVERY("drip", DELIVERY_DRIP, "MS", "so long after each byte"),
    DELIVERY("cut", DELIVERY_CUT, "", "half of the answer, then close"),
    DELIVERY("drop", DELIVERY_DROP, "", "close instead of an answer"),
    DELIVERY("reset", DELIVERY_RESET, "", "a TCP reset instead of an answer"),
    { "http", ASPECT_STATUS, 0, set_http, NULL, "STATUS [RETRY-AFTER]",
      "that HTTP status, with Retry-After if given" },
    { "redirect", ASPECT_STATUS, 0, set_redirect, NULL, "URL [STATUS]",
      "302 (or STATUS) to there" },
    FRAMING("length", FRAMING_LENGTH, "Content-Length (as at start)"),
    FRAMING("chunked", FRAMING_CHUNKED, "chunks of 100 bytes"),
    FRAMING("close", FRAMING_CLOSE, "no length: the close is the end"),
    FRAMING("http10", FRAMING_HTTP10, "HTTP/1.0 without a length"),
    { "type", ASPECT_TYPE, 0, set_type, NULL, "[CONTENT-TYPE]",
      "that Content-Type, or none" },
    { "header", ASPECT_HEADERS, 0, set_header, NULL, "NAME: VALUE",
      "one more header, e.g. Cache-Control: max-age=60" },
    { "no-headers", ASPECT_HEADERS, 0, set_no_headers, NULL, "",
      "forget them" },
    { "etag", ASPECT_ETAG, 0, set_etag, NULL, "[\"VALUE\"]",
      "send it, and 304 to whoever has it" },
    { "sha256-only", ASPECT_HASH, NID_sha256, set_hash, NULL, "",
      "unauthorized for other CertIDs" },
    { "sha1-only", ASPECT_HASH, NID_sha1, set_hash, NULL, "",
      "unauthorized for other CertIDs" },
    { "any-hash", ASPECT_HASH, 0, set_hash, NULL, "", "as at start" },
    { "get-only", ASPECT_METHOD, 'G', set_method, NULL, "", "405 for others" },
    { "post-only", ASPECT_METHOD, 'P', set_method, NULL, "",
      "405 for others" },
    { "any-method", ASPECT_METHOD, 0, set_method, NULL, "", "as at start" },
    PROCESS("refuse", run_refuse, "",
            "end all connections and refuse new ones"),
    PROCESS("listen", run_listen, "", "listen again, on the same port"),
    PROCESS("count", run_count, "[SERIAL]", "requests so far"),
    PROCESS("log", run_log, "",
            "a line per request, separated by tabs: time, method, serial, "
            "CertID hash, connection, target, Host, User-Agent, requests in "
            "it, extensions in it"),
    PROCESS("last", run_last, "", "the head of the last request"),
    PROCESS("stats", run_stats, "",
            "requests, connections, open and busy now and at most"),
    PROCESS("reset-counters", run_reset_counters, "", "forget all of that"),
    PROCESS("quit", run_quit, "", "end"),
    PROCESS("help", run_help, "", "this list"),
    { NULL, 0, 0, NULL, NULL, NULL, NULL }
};

static void print_commands(FILE *out, const char *prefix)
{
    const command_t *cmd;
    char text[64];

    for (cmd = commands; cmd->name; cmd++) {
        snprintf(text, sizeof(text), "%s %s", cmd->name, cmd->usage);
        fprintf(out, "%s%-24s %s\n", prefix, text, cmd->help);
    }
    fprintf(out, "%s%-24s %s\n", prefix, "clear",
            "back to the start; @SERIAL clear: forget that certificate's");
}

static const char *run_help(FILE *out, char *args)
{
    (void)args;
    print_commands(out, "- ");
    return NULL;
}

static override_t *find_override(const char *serial)
{
    override_t *o;

    for (o = overrides; o; o = o->next) {
        if (!strcmp(o->serial, serial)) {
            return o;
        }
    }
    return NULL;
}

static settings_t *settings_of(const char *serial)
{
    override_t *o;

    if (!*serial) {
        return &general;
    }
    o = find_override(serial);
    if (!o) {
        o = must(calloc(1, sizeof(*o)));
        strcpy(o->serial, serial);
        o->settings = initial_settings;
        o->next = overrides;
        overrides = o;
    }
    return &o->settings;
}

/* Forget all settings, or those of one certificate. */
static void clear_settings(const char *serial)
{
    override_t **link = &overrides;

    while (*link) {
        override_t *o = *link;

        if (!*serial || !strcmp(o->serial, serial)) {
            *link = o->next;
            free(o);
        }
        else {
            link = &o->next;
        }
    }
    if (!*serial) {
        general = initial_settings;
    }
}

static const char *apply(const command_t *cmd, const char *serial, char *args)
{
    settings_t *s = settings_of(serial);
    settings_t next = *s;
    const char *problem = cmd->set(&next, cmd, args);

    if (!problem) {
        next.given |= cmd->aspects;
        *s = next;
    }
    return problem;
}

/* One command without its target. The lock is held where it sets. */
static const char *obey(char *text, const char *serial, FILE *out)
{
    size_t name_len = strcspn(text, " \t");
    char *args = text + name_len + strspn(text + name_len, " \t");
    const command_t *cmd = commands;
    const char *problem;

    text[name_len] = '\0';
    if (!strcmp(text, "clear")) {
        pthread_mutex_lock(&lock);
        clear_settings(serial);
        pthread_mutex_unlock(&lock);
        return NULL;
    }
    while (cmd->name && strcmp(cmd->name, text)) {
        cmd++;
    }
    if (!cmd->name) {
        return "no such command; try help";
    }
    if (cmd->run) {
        return *serial ? "not for one certificate" : cmd->run(out, args);
    }
    pthread_mutex_lock(&lock);
    problem = apply(cmd, serial, args);
    pthread_mutex_unlock(&lock);
    return problem;
}

static char *trim(char *text)
{
    size_t len;

    text += strspn(text, " \t");
    len = strlen(text);
    while (len && isspace((unsigned char)text[len - 1])) {
        text[--len] = '\0';
    }
    return text;
}

/* A line of commands separated by bars, for one target. */
static void obey_line(char *line, FILE *out)
{
    char serial[SERIAL_LEN] = "";
    const char *problem = NULL;
    char *next;

    line = trim(line);
    if (*line == '@') {
        size_t len = strcspn(line, " \t");
        char *rest = line + len + (line[len] != '\0');

        line[len] = '\0';
        problem = normalize_serial(line + 1, serial);
        line = rest;
    }
    while (line && !problem) {
        next = strchr(line, '|');
        if (next) {
            *next++ = '\0';
        }
        problem = obey(trim(line), serial, out);
        line = next;
    }
    fprintf(out, problem ? "error %s\n" : "ok\n", problem);
    fflush(out);
}

/* ----- The main thread: doors and commands ----- */

typedef struct control_t {
    int fd; /* -1: free */
    FILE *out;
    char in[LINE_MAX_LEN];
    size_t in_len;
} control_t;

static control_t controls[CONTROLS_MAX];

static void end_control(control_t *c)
{
    fclose(c->out);
    c->fd = -1;
}

static void start_control(int fd)
{
    int i;

    for (i = 0; i < CONTROLS_MAX; i++) {
        if (controls[i].fd < 0) {
            controls[i].out = must(fdopen(fd, "w"));
            controls[i].fd = fd;
            controls[i].in_len = 0;
            return;
        }
    }
    close(fd);
}

static void read_control(control_t *c)
{
    ssize_t n = recv(c->fd, c->in + c->in_len, sizeof(c->in) - c->in_len, 0);
    char *end;

    if (n <= 0) {
        end_control(c);
        return;
    }
    c->in_len += (size_t)n;
    while ((end = memchr(c->in, '\n', c->in_len)) != NULL) {
        size_t len = (size_t)(end - c->in) + 1;

        *end = '\0';
        obey_line(c->in, c->out);
        c->in_len -= len;
        memmove(c->in, c->in + len, c->in_len);
    }
    if (c->in_len == sizeof(c->in)) {
        end_control(c);
    }
}

/* Runs until something is in the stop pipe, or with is_tied until standard
 * input ends. */
static void run(int control_fd, int is_tied)
{
    struct pollfd p[4 + CONTROLS_MAX];
    char byte;
    int i;

    for (;;) {
        p[0].fd = stop_pipe[0];
        p[1].fd = is_tied ? STDIN_FILENO : -1;
        p[2].fd = door.is_open ? door.fd : -1;
        p[3].fd = control_fd;
        for (i = 0; i < CONTROLS_MAX; i++) {
            p[4 + i].fd = controls[i].fd;
        }
        for (i = 0; i < 4 + CONTROLS_MAX; i++) {
            p[i].events = POLLIN;
            p[i].revents = 0;
        }
        if (poll(p, 4 + CONTROLS_MAX, -1) < 0) {
            if (errno == EINTR) {
                continue;
            }
            die("poll: %s", strerror(errno));
        }
        if (p[0].revents
            || (p[1].revents && read(STDIN_FILENO, &byte, 1) <= 0)) {
            return;
        }
        if (p[2].revents) {
            int fd = accept4(door.fd, NULL, NULL, SOCK_CLOEXEC);

            if (fd >= 0) {
                start_conn(fd);
            }
        }
        if (p[3].revents) {
            int fd = accept4(control_fd, NULL, NULL, SOCK_CLOEXEC);

            if (fd >= 0) {
                start_control(fd);
            }
        }
        for (i = 0; i < CONTROLS_MAX; i++) {
            if (p[4 + i].revents) {
                read_control(&controls[i]);
            }
        }
    }
}

static void on_signal(int number)
{
    ssize_t ignored = write(stop_pipe[1], "s", 1);

    (void)number;
    (void)ignored;
}

static void catch_signals(void)
{
    struct sigaction act;

    if (pipe(stop_pipe)) {
        die("no pipe: %s", strerror(errno));
    }
    memset(&act, 0, sizeof(act));
    act.sa_handler = on_signal;
    sigaction(SIGTERM, &act, NULL);
    sigaction(SIGINT, &act, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static void clean_up(int control_fd)
{
    int i;

    close(control_fd);
    close(door.fd);
    end_all_conns();
    for (i = 0; i < CONTROLS_MAX; i++) {
        if (controls[i].fd >= 0) {
            end_control(&controls[i]);
        }
    }
    drop_entries();
    free(entries);
    clear_settings("");
    free_signers();
}

static void print_help(void)
{
    printf("responder --issuer CERT KEY [--issuer ...] [--bind ADDRESS]\n"
           "          [--port N] [--control-port N] [--tied]\n\n"
           "An OCSP responder that can be told to lie. It prints `port N`,\n"
           "`control N` and `ready`; --tied ends it with its standard input.\n"
           "Commands, on the control port; after `@SERIAL ` for one\n"
           "certificate, several in one line between bars:\n\n");
    print_commands(stdout, "  ");
}

int main(int argc, char **argv)
{
    const char *host = "127.0.0.1", *port = "0", *control_port = "0";
    struct sockaddr_storage control_addr;
    socklen_t control_len;
    int i, control_fd, is_tied = 0;

    for (i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--help")) {
            print_help();
            return 0;
        }
        else if (!strcmp(argv[i], "--tied")) {
            is_tied = 1;
        }
        else if (!strcmp(argv[i], "--issuer") && i + 2 < argc) {
            load_issuer(argv[i + 1], argv[i + 2]);
            i += 2;
        }
        else if (!strcmp(argv[i], "--bind") && i + 1 < argc) {
            host = argv[++i];
        }
        else if (!strcmp(argv[i], "--port") && i + 1 < argc) {
            port = argv[++i];
        }
        else if (!strcmp(argv[i], "--control-port") && i + 1 < argc) {
            control_port = argv[++i];
        }
        else {
            die("unknown or incomplete: %s; see --help", argv[i]);
        }
    }
    if (!issuers_count) {
        die("no --issuer; see --help");
    }
    general = initial_settings;
    for (i = 0; i < CONTROLS_MAX; i++) {
        controls[i].fd = -1;
    }
    make_signers();
    catch_signals();
    door.fd = bind_name(host, port, &door.addr, &door.len);
    open_door();
    control_fd = bind_name(host, control_port, &control_addr, &control_len);
    if (listen(control_fd, 16)) {
        die("cannot listen: %s", strerror(errno));
    }
    printf("port %u\ncontrol %u\nready\n", port_of(&door.addr),
           port_of(&control_addr));
    fflush(stdout);

    run(control_fd, is_tied);
    clean_up(control_fd);
    return 0;
}
