/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_MESSAGE_H
#define STAPLE_MESSAGE_H

/*
 * Messages: StapleMessageCmd's program is started when something changes for
 * a certificate, as mod_md's MDMessageCmd is.
 *
 * The one idea: a program is never waited for. staple_message_send notes what
 * is to be reported, staple_message_run starts programs, collects those that
 * have ended and ends those that take too long; neither ever blocks. There is
 * never more than one program at a time for one certificate; of what happens to
 * it meanwhile, the newest is reported when that program has ended.
 *
 *   PROGRAM [ARGUMENT...] REASON NAME SERIAL HOSTS DETAIL
 *
 * No shell is involved, the environment holds PATH, the version, the variables
 * of the note and nothing else, standard input and output are /dev/null,
 * standard error is the server's error log. A certificate's name is whatever
 * its owner wrote, so the program has to quote it.
 *
 * The refresher's first thread only. This room never logs; a callback learns
 * what became of a program.
 */

#include <apr_pools.h>
#include <apr_time.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What has changed. */
typedef enum {
    STAPLE_MESSAGE_RENEWED,   /* a newer response is stapled */
    STAPLE_MESSAGE_ERRORED,   /* attempts have begun to fail */
    STAPLE_MESSAGE_RECOVERED, /* the first success after that, or good again
                                 after a revocation */
    STAPLE_MESSAGE_REVOKED,   /* the certificate was revoked */
    STAPLE_MESSAGE_EXPIRING   /* little is left of the response, and attempts
                                 fail; or nothing is left */
} staple_message_e;

/** A reason as the program gets it: "renewed". */
const char *staple_message_text(staple_message_e reason);

/** One thing to report. Read by staple_message_send, and copied. */
typedef struct staple_message_note_t {
    const unsigned char *id; /* STAPLE_ID_LEN bytes */
    staple_message_e reason;
    const char *name;        /* of the certificate */
    const char *serial;      /* hexadecimal */
    const char *hosts;       /* "name:port", separated by commas */
    const char *detail;      /* a phrase: until when, or why not */
    const char *const *variables; /* "NAME=value", for the environment; ends in
                                     NULL; NULL: none */
} staple_message_note_t;

/** How many variables there may be. */
#define STAPLE_MESSAGE_VARIABLES 8

/** How a program ended. */
typedef enum {
    STAPLE_MESSAGE_DONE,    /* with exit status 0 */
    STAPLE_MESSAGE_FAILED,  /* with another exit status, or by a signal */
    STAPLE_MESSAGE_LATE,    /* it took too long and was ended */
    STAPLE_MESSAGE_NO_START /* it could not be started */
} staple_message_end_e;

/** What became of a program; valid during the callback only. */
typedef struct staple_message_end_t {
    staple_message_end_e end;
    staple_message_e reason;
    const char *name;   /* of the certificate */
    int exit_status;    /* FAILED: the status, or 128 and the signal */
    apr_status_t rv;    /* NO_START: why */
} staple_message_end_t;

/** Called from staple_message_run for each program that ended; must not call
 * back into this room. */
typedef void staple_message_end_fn(void *baton,
                                   const staple_message_end_t *end);

typedef struct staple_message_conf_t {
    const char *const *command;  /* the program's absolute path and its first
                                    arguments; ends in NULL; kept */
    apr_interval_time_t timeout; /* for one program; then it gets SIGTERM, and
                                    SIGKILL after STAPLE_MESSAGE_GRACE */
    int concurrency;             /* programs at a time */
    staple_message_end_fn *ended; /* or NULL */
    void *baton;
} staple_message_conf_t;

/** What a program has between SIGTERM and SIGKILL. */
#define STAPLE_MESSAGE_GRACE apr_time_from_sec(2)

typedef struct staple_message_t staple_message_t;

/**
 * @param p outlives it; nothing is allocated from p later
 */
apr_status_t staple_message_create(staple_message_t **message,
                                   const staple_message_conf_t *conf,
                                   apr_pool_t *p);

/**
 * Note something to be reported. It replaces what waits to be reported of the
 * same certificate. Starts nothing yet.
 */
apr_status_t staple_message_send(staple_message_t *message,
                                 const staple_message_note_t *note);

/**
 * Collect what has ended, end what takes too long, start what waits. Waits for
 * nothing but the exec of what is started.
 * @return how many are running or waiting
 */
int staple_message_run(staple_message_t *message);

/**
 * Drop what waits and end what runs: SIGTERM, and SIGKILL for what has not
 * ended within a tenth of a second. Nothing is left behind, no callback is
 * called.
 */
void staple_message_destroy(staple_message_t *message);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_MESSAGE_H */
