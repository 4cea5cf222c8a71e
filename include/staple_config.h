/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#ifndef STAPLE_CONFIG_H
#define STAPLE_CONFIG_H

/*
 * The directives: mod_ssl's own stapling names, which httpd hands to both
 * modules, and ours that begin with "Staple". docs/directives.md is their
 * manual; a test holds the two together.
 *
 * Records are written while the configuration is read and by
 * staple_config_finish, and are read-only afterwards.
 */

#include <httpd.h>
#include <http_config.h>

#include "staple_cache.h"
#include "staple_deny.h"
#include "staple_share.h"
#include "staple_value.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A span, count or switch that no directive has set. */
#define STAPLE_UNSET (-1)

/** What to do about a must-staple certificate with nothing to staple. */
typedef enum {
    STAPLE_MUST_WARN,    /* say so */
    STAPLE_MUST_REQUIRE, /* do not start */
    STAPLE_MUST_STRICT,  /* offer another certificate, if there is one */
    STAPLE_MUST_REFUSE   /* the same, and if there is none, refuse */
} staple_must_e;

/** What holds for the server as a whole; directives outside virtual hosts. */
typedef struct staple_main_conf_t {
    int has_cache;              /* whether there is an SSLStaplingCache */
    staple_cache_spec_t cache;  /* of shmcb:path(size), path made absolute */
    int cache_grow;             /* StapleCacheGrow */
    int chain;                  /* StapleChain */
    int fetch_concurrency;      /* StapleFetchConcurrency */
    apr_interval_time_t warmup; /* StapleWarmup; unset: 500ms, or 5s for what
                                   is must-staple or out of the file */
    staple_deny_t *deny;  /* StapleDenyResponder; NULL: unset, until
                             check_config puts the default there */
    const char *const *message_cmd; /* StapleMessageCmd: a program's absolute
                                   path and arguments, then NULL; NULL:
                                   unset */
    const char *response_directory; /* StapleResponseDirectory, absolute;
                                   NULL: none */
    int must_staple;            /* StapleMustStaple: a staple_must_e */
    staple_share_t *share;      /* StapleShare; where that is unset, after
                                   staple_config_finish, cache_share; NULL:
                                   none */
    staple_share_t *cache_share; /* SSLStaplingCache with another provider than
                                   shmcb; NULL: none */
    int status_actions;         /* StapleStatusActions */
} staple_main_conf_t;

/**
 * What holds for one (virtual) server. Spans are microseconds. After
 * staple_config_finish nothing is unset but max_age and standard_timeout,
 * whose being unset has a meaning.
 */
typedef struct staple_server_conf_t {
    staple_main_conf_t *main;    /* shared by all; NULL in a virtual host's
                                    record until it is merged */
    int use_stapling;            /* SSLUseStapling */
    apr_interval_time_t skew;    /* SSLStaplingResponseTimeSkew */
    apr_interval_time_t max_age; /* SSLStaplingResponseMaxAge; unset:
                                    no limit */
    apr_interval_time_t responder_timeout; /* SSLStaplingResponderTimeout */
    apr_interval_time_t standard_timeout;  /* SSLStaplingStandardCacheTimeout;
                                    unset: the validity alone decides */
    apr_interval_time_t error_timeout;     /* SSLStaplingErrorCacheTimeout */
    int return_errors;           /* SSLStaplingReturnResponderErrors */
    int fake_try_later;          /* SSLStaplingFakeTryLater */
    const char *force_url;       /* SSLStaplingForceURL; NULL: unset; "": none,
                                    whatever the main server says */
    const staple_value_proxy_t *proxy; /* SSLOCSPProxyURL; NULL: unset */
    int cert_id_hash;            /* StapleCertIDHash: a staple_cert_hash_e */
    apr_interval_time_t greatest_age; /* StapleMaxAge; STAPLE_VALUE_AGE_OFF: no
                                    limit */
    apr_interval_time_t revoked_recheck; /* StapleRevokedRecheck;
                                    STAPLE_VALUE_AGE_OFF: as any other */
    apr_array_header_t *response_files; /* StapleResponseFile: const char *,
                                    absolute; NULL: unset */
    int fetch_issuer;            /* StapleFetchIssuer */
    apr_array_header_t *notes;   /* const char *: values of this server's own
                                    lines that were replaced, and by what;
                                    NULL: none */
} staple_server_conf_t;

/** For the module record. */
extern const command_rec staple_config_commands[];
void *staple_config_create(apr_pool_t *p, server_rec *s);
void *staple_config_merge(apr_pool_t *p, void *base, void *add);

/** Put the defaults where nothing was set; for each server, before use. */
void staple_config_finish(staple_server_conf_t *conf);

/** The record of a server. httpd lets a virtual host without a directive of
 * ours have the main server's. */
staple_server_conf_t *staple_config_of(const server_rec *s);

/** The notes of all servers, each once: const char *, printable. */
apr_array_header_t *staple_config_notes(const server_rec *main_server,
                                        apr_pool_t *p);

#ifdef __cplusplus
}
#endif

#endif /* STAPLE_CONFIG_H */
