/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_T_RESPONDER_H
#define STAPLE_T_RESPONDER_H

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
 *   responder --issuer ca.pem ca.key [--issuer ...] [--bind 127.0.0.1 ...]
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
 *   @127.0.0.2 http 503          whoever asks at that address gets 503
 *
 * With several --bind it listens at several addresses, all on one port, and a
 * fault may be that of one address: it is laid over the general settings and
 * under those of a certificate.
 *
 * Each line is answered by data lines that begin with "- " and a last line
 * that begins with "ok" or "error". Not for use outside of tests.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* accept4, memmem, POLLRDHUP */
#endif

#include <limits.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/ocsp.h>
#include <openssl/x509.h>

#define REQUEST_MAX  (64 * 1024)
#define SERIAL_LEN   128
#define ADDRESS_LEN  64
#define DAY          86400L

/* ----- main.c: what all use ----- */

/* Say why on standard error, and end the process. */
__attribute__((noreturn, format(printf, 1, 2)))
void die(const char *fmt, ...);

/* p, or the end of the process if it is NULL. */
void *must(void *p);

/* The bytes in a memory BIO; they belong to it. */
int bio_len(BIO *bio, char **data);

/* A byte in its second end ends the process. */
extern int stop_pipe[2];

/* ----- settings.c: what may be lied about, and how it is merged ----- */

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
    ANSWER_BOTH,         /* good, and behind it revoked */
    ANSWER_BOTH_TURNED,  /* revoked, and behind it good */
    ANSWER_CRITICAL,     /* with an unknown critical extension */
    ANSWER_BIG,          /* true, with an extension of `size` bytes */
    ANSWER_STUFFED,      /* the same, under the status tryLater */
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
    DELIVERY_NOT_HTTP,     /* another protocol's greeting */
    DELIVERY_ONCE,         /* a second request of a connection is ignored */
    DELIVERY_DEAF,         /* accepted, and nothing is read, for ever */
    DELIVERY_HANGUP,       /* closed as soon as it is accepted */
    DELIVERY_RESET         /* a TCP reset instead of an answer */
};

enum framing {
    FRAMING_LENGTH,
    FRAMING_CHUNKED,
    FRAMING_CLOSE,   /* HTTP/1.1 without a length: the close is the end */
    FRAMING_OPEN,    /* the same, but the close never comes */
    FRAMING_HTTP10
};

/* One for all certificates, and one for each certificate and address that was
 * named; guarded by the lock. */
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
    int other_hash_status;   /* the OCSP error for others */
    char only_method[8];     /* empty: any */
    int by_key;              /* ResponderID byKey */
    char digest[16];         /* of the signature */
} settings_t;

extern const settings_t initial_settings;

/* Guards the settings, what was asked, and the list of connections. */
extern pthread_mutex_t lock;

/* Lay what was set in `over` on top. */
void overlay(settings_t *s, const settings_t *over);

/* A target is a certificate, by its serial, or an address. Its settings, or
 * with "" those of all; made if there are none yet. The lock is held. */
settings_t *settings_of(const char *target);

/* Forget all settings, or those of one target. The lock is held. */
void clear_settings(const char *target);

/* Those that hold for a certificate asked about at an address. The lock is
 * held. */
void settings_for(const char *serial, const char *address, settings_t *s);

/* Serials are compared as upper case hex of whole bytes, as OpenSSL has it.
 * Returns NULL, or what is wrong with the text; serial has SERIAL_LEN bytes. */
const char *normalize_serial(const char *text, char *serial);

/* The same for a serial or an address, which has a dot or a colon in it. */
const char *normalize_target(const char *text, char *target);

/* ----- signers.c: the CAs and their delegates ----- */

typedef struct identity_t {
    X509 *cert;
    EVP_PKEY *key;
} identity_t;

typedef struct issuer_t {
    identity_t signers[SIGNERS]; /* by enum signer */
} issuer_t;

/* Written before the first connection, as the issuers are. */
extern identity_t stranger;

/* Read a CA, before make_signers(). */
void load_issuer(const char *cert_path, const char *key_path);

/* Make the delegates of every CA, and the stranger. */
void make_signers(void);

void free_signers(void);

/* The digest of a CertID; NULL: none that OpenSSL knows. */
const EVP_MD *certid_md(OCSP_CERTID *id);

/* The CA that a CertID names; NULL: none of ours. */
const issuer_t *find_issuer(OCSP_CERTID *id);

/* ----- request.c: a request read ----- */

typedef struct conn_t {
    int fd;
    unsigned long number;
    unsigned long served;      /* requests so far */
    char address[ADDRESS_LEN]; /* ours */
    char in[REQUEST_MAX];
    size_t in_len;
    struct conn_t *prev, *next;
} conn_t;

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

/* The value of a header, to be freed; "" if there is none. */
char *header_of(const char *head, const char *name);

/* Whether the header has that word, in any case. */
int header_has(const char *head, const char *name, const char *word);

/* Take a whole request out of what has come in.
 * Returns 1 with a request, 0 if more is needed, -1 if it never will be. */
int parse_request(conn_t *c, request_t *r);

void free_request(request_t *r);

/* ----- body.c: what the response says ----- */

/* The body of the answer about `id`; NULL: the request was no OCSP. The
 * caller frees it. */
BIO *make_body(OCSP_CERTID *id, const settings_t *s);

/* ----- answer.c: HTTP around it, and how the bytes travel ----- */

/* The whole answer as bytes; the caller frees it. */
BIO *make_answer(const request_t *r, const settings_t *s, int is_last);

/* Until the client has gone. */
void wait_for_end(int fd);

/* Returns whether the connection may go on. */
int deliver(int fd, BIO *answer, const settings_t *s);

/* ----- record.c: what was asked ----- */

/* How many at a time; guarded by the lock. */
typedef struct load_t {
    unsigned long accepted, open, max_open, busy, max_busy;
} load_t;

extern load_t load;

/* Note the request of a connection, and say what to answer. */
void record(const request_t *r, const conn_t *c, settings_t *s);

/* Forget what was asked. The lock is held. */
void drop_entries(void);

/* Commands: they print data lines and return NULL, or what is wrong. */
const char *run_count(FILE *out, char *args);
const char *run_log(FILE *out, char *args);
const char *run_last(FILE *out, char *args);
const char *run_stats(FILE *out, char *args);
const char *run_reset_counters(FILE *out, char *args);

/* ----- conn.c: the connections ----- */

/* Serve an accepted connection in a thread of its own. */
void start_conn(int fd);

/* End those at an address (NULL: all), and wait until none is left there. */
void end_conns(const char *address);

/* ----- door.c: listening ----- */

#define DOORS_MAX 64
#define FILLERS   4

typedef struct door_t {
    char address[ADDRESS_LEN];
    struct sockaddr_storage addr;
    socklen_t len;
    int fd;
    int is_open;    /* else bound, so that nobody takes the port, but deaf */
    int is_blocked; /* open, and its backlog is full */
    int fillers[FILLERS]; /* our connections in it; 0: none */
} door_t;

/* The main thread's alone. */
extern door_t doors[DOORS_MAX];
extern int doors_count;

/* Listen at those addresses, all on one port ("0": one that is free at all of
 * them), or end the process. */
void make_doors(const char *const *hosts, int count, const char *port);

unsigned port_of(const struct sockaddr_storage *addr);

/* A socket bound to there, not listening; addr becomes where that is. */
int bind_name(const char *host, const char *port,
              struct sockaddr_storage *addr, socklen_t *len);

/* The address as text. */
void address_text(const struct sockaddr_storage *addr, char *text);

/* Listen again at an address ("": at all of them); NULL, or what is wrong. */
const char *open_doors(const char *address);

/* Refuse connections, keep the port, and end what goes on. */
const char *close_doors(const char *address);

/* Listen, but let no connection be made: the backlog is full. */
const char *block_doors(const char *address);

/* ----- commands.c: what can be said ----- */

void print_commands(FILE *out, const char *prefix);

/* A line of commands separated by bars, for one target; answered on out. */
void obey_line(char *line, FILE *out);

#endif /* STAPLE_T_RESPONDER_H */
