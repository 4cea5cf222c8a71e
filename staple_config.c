/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The directives: what an administrator wrote becomes a record per server.
 *
 * The one idea: mod_ssl reads the same lines beside us (httpd hands a
 * directive to every module that registered it), so a configuration that
 * worked goes on working: what mod_ssl swallows silently (atoi takes "abc" as
 * 0) is replaced here, and a note for the log says by what. An error names the
 * directive, the value given and what is accepted.
 *
 * A setter serves a kind of value, not a directive: the command's info points
 * to a rule that says where the value goes and what is allowed.
 */

#include "staple_config.h"

#include <apr_lib.h>
#include <apr_strings.h>

#include "staple_cert.h"
#include "staple_magic.h"
#include "staple_rules.h"
#include "staple_text.h"
#include "staple_value.h"

extern module AP_MODULE_DECLARE_DATA staple_module;

#define SECONDS(n) apr_time_from_sec((apr_interval_time_t)(n))

/* ----- records ----- */

static staple_main_conf_t *make_main(apr_pool_t *p)
{
    staple_main_conf_t *conf = apr_pcalloc(p, sizeof(*conf));

    conf->has_cache = 0;
    conf->cache.path = NULL;
    conf->cache.size = STAPLE_CACHE_SIZE_DEFAULT;
    conf->cache_grow = STAPLE_UNSET;
    conf->chain = STAPLE_UNSET;
    conf->fetch_concurrency = STAPLE_UNSET;
    conf->warmup = STAPLE_UNSET;
    conf->deny = NULL;
    conf->message_cmd = NULL;
    conf->response_directory = NULL;
    conf->must_staple = STAPLE_UNSET;
    conf->share = NULL;
    conf->cache_share = NULL;
    conf->status_actions = STAPLE_UNSET;
    return conf;
}

void *staple_config_create(apr_pool_t *p, server_rec *s)
{
    staple_server_conf_t *conf = apr_pcalloc(p, sizeof(*conf));

    conf->main = s->is_virtual ? NULL : make_main(p);
    conf->use_stapling = STAPLE_UNSET;
    conf->skew = STAPLE_UNSET;
    conf->max_age = STAPLE_UNSET;
    conf->responder_timeout = STAPLE_UNSET;
    conf->standard_timeout = STAPLE_UNSET;
    conf->error_timeout = STAPLE_UNSET;
    conf->return_errors = STAPLE_UNSET;
    conf->fake_try_later = STAPLE_UNSET;
    conf->force_url = NULL;
    conf->proxy = NULL;
    conf->cert_id_hash = STAPLE_UNSET;
    conf->greatest_age = STAPLE_UNSET;
    conf->revoked_recheck = STAPLE_UNSET;
    conf->response_files = NULL;
    conf->fetch_issuer = STAPLE_UNSET;
    conf->notes = NULL;
    return conf;
}

#define MERGE(field) \
    conf->field = add->field != STAPLE_UNSET ? add->field : base->field
#define MERGE_PTR(field) conf->field = add->field ? add->field : base->field
#define MERGE_OWN(field) conf->field = add->field

void *staple_config_merge(apr_pool_t *p, void *basev, void *addv)
{
    const staple_server_conf_t *base = basev;
    const staple_server_conf_t *add = addv;
    staple_server_conf_t *conf = apr_pcalloc(p, sizeof(*conf));

    MERGE_PTR(main);
    MERGE(use_stapling);
    MERGE(skew);
    MERGE(max_age);
    MERGE(responder_timeout);
    MERGE(standard_timeout);
    MERGE(error_timeout);
    MERGE(return_errors);
    MERGE(fake_try_later);
    MERGE_PTR(force_url);
    MERGE_PTR(proxy);
    MERGE(cert_id_hash);
    MERGE(greatest_age);
    MERGE(revoked_recheck);
    MERGE_PTR(response_files);
    MERGE(fetch_issuer);
    MERGE_OWN(notes);
    return conf;
}

#define DEFAULT(record, field, value) \
    if ((record)->field == STAPLE_UNSET) (record)->field = (value)
#define DEFAULT_PTR(record, field, value) \
    if (!(record)->field) (record)->field = (value)

/* The default, as an argument that makes no sense has it: a virtual host that
 * has one does not inherit what the main server says. Until
 * staple_config_finish. */
#define SAID_DEFAULT (-2)

#define FORGET(field) \
    if (conf->field == SAID_DEFAULT) conf->field = STAPLE_UNSET

static void forget_said(staple_server_conf_t *conf)
{
    FORGET(skew);
    FORGET(max_age);
    FORGET(responder_timeout);
    FORGET(standard_timeout);
    FORGET(error_timeout);
}

void staple_config_finish(staple_server_conf_t *conf)
{
    forget_said(conf);
    DEFAULT(conf->main, cache_grow, 1);
    DEFAULT(conf->main, chain, 0);
    DEFAULT(conf->main, fetch_concurrency, 32);
    /* warmup stays unset: it depends on the certificate */
    DEFAULT(conf->main, must_staple, STAPLE_MUST_WARN);
    DEFAULT_PTR(conf->main, share, conf->main->cache_share);
    DEFAULT(conf->main, status_actions, 0);

    DEFAULT(conf, use_stapling, 0);
    DEFAULT(conf, skew, STAPLE_RULES_SKEW);
    /* max_age stays unset: no limit */
    DEFAULT(conf, responder_timeout, SECONDS(10));
    /* standard_timeout stays unset: the validity decides */
    DEFAULT(conf, error_timeout, SECONDS(600));
    DEFAULT(conf, return_errors, 0);
    DEFAULT(conf, fake_try_later, 0);
    DEFAULT(conf, cert_id_hash, STAPLE_CERT_HASH_AUTO);
    DEFAULT(conf, greatest_age, STAPLE_RULES_STAPLE_AGE);
    DEFAULT(conf, revoked_recheck, STAPLE_RULES_RECHECK);
    DEFAULT(conf, fetch_issuer, 1);
}

staple_server_conf_t *staple_config_of(const server_rec *s)
{
    return ap_get_module_config(s->module_config, &staple_module);
}

/* Names come from customers on a shared host, and the log may be JSON. */
static const char *printable(const char *note, apr_pool_t *p)
{
    apr_size_t len = strlen(note);

    return staple_text_name(note, len, len, p);
}

static void add_notes(apr_array_header_t *all,
                      const apr_array_header_t *notes, apr_pool_t *p)
{
    int i;

    for (i = 0; notes && i < notes->nelts; i++) {
        APR_ARRAY_PUSH(all, const char *)
            = printable(APR_ARRAY_IDX(notes, i, const char *), p);
    }
}

apr_array_header_t *staple_config_notes(const server_rec *main_server,
                                        apr_pool_t *p)
{
    apr_array_header_t *all = apr_array_make(p, 1, sizeof(const char *));
    const staple_server_conf_t *global = staple_config_of(main_server);
    const server_rec *s;

    add_notes(all, global->notes, p);
    for (s = main_server->next; s; s = s->next) {
        if (staple_config_of(s) != global) {
            add_notes(all, staple_config_of(s)->notes, p);
        }
    }
    return all;
}

/* ----- rules and setters ----- */

/* Where a value goes. */
typedef enum {
    IN_MAIN,
    IN_SERVER
} record_e;

/* Each kind of rule begins with a number of its own, because the rule of a
 * command comes back as a void pointer. */
#define SPAN_RULE 0x5350414Eu
#define WORD_RULE 0x574F5244u
#define AGE_RULE 0x41474521u
#define COUNT_RULE 0x434F554Eu

typedef struct span_rule_t {
    staple_magic_t magic;
    record_e record;
    apr_size_t offset; /* of an apr_interval_time_t */
    staple_value_span_t span;
} span_rule_t;

typedef struct age_rule_t {
    staple_magic_t magic;
    apr_size_t offset; /* of an apr_interval_time_t in the server's record */
} age_rule_t;

#define WORDS_MAX 4

typedef struct word_rule_t {
    staple_magic_t magic;
    record_e record;
    apr_size_t offset; /* of an int */
    struct {
        const char *word;
        int value;
    } words[WORDS_MAX]; /* up to the first NULL */
    const char *accepted;
} word_rule_t;

typedef struct count_rule_t {
    staple_magic_t magic;
    apr_size_t offset; /* of an int in the main record */
    int min, max;
} count_rule_t;

/* Where a field is; one of another type than the setter writes is an error when
 * this is compiled. */
#define AT_OF(type, record, field) \
    _Generic(&((record *)NULL)->field, type *: APR_OFFSETOF(record, field))
#define INT(field) AT_OF(int, staple_server_conf_t, field)
#define INT_MAIN(field) AT_OF(int, staple_main_conf_t, field)
#define SPAN(field) AT_OF(apr_interval_time_t, staple_server_conf_t, field)
#define SPAN_MAIN(field) AT_OF(apr_interval_time_t, staple_main_conf_t, field)

/* A directive of the main record is refused inside a virtual host. */
static const char *check_place(cmd_parms *cmd, record_e record)
{
    return record == IN_MAIN ? ap_check_cmd_context(cmd, GLOBAL_ONLY) : NULL;
}

static void *field_at(cmd_parms *cmd, record_e record, apr_size_t offset)
{
    staple_server_conf_t *conf = staple_config_of(cmd->server);

    return (record == IN_MAIN ? (char *)conf->main : (char *)conf) + offset;
}

/* What an argument came to: an error, which stops the start, or NULL and, for
 * one that was replaced, a note for the log. */
static const char *conclude(cmd_parms *cmd, staple_value_e value,
                            const char *words)
{
    staple_server_conf_t *conf = staple_config_of(cmd->server);

    if (value == STAPLE_VALUE_REFUSED) {
        return apr_psprintf(cmd->pool, "%s: %s", cmd->cmd->name, words);
    }
    if (value == STAPLE_VALUE_REPLACED) {
        if (!conf->notes) {
            conf->notes = apr_array_make(cmd->pool, 1, sizeof(const char *));
        }
        APR_ARRAY_PUSH(conf->notes, const char *) = apr_psprintf(
            cmd->pool, "%s:%d: %s: %s", cmd->directive->filename,
            cmd->directive->line_num, cmd->cmd->name, words);
    }
    return NULL;
}

/* One of some words, in any case; switches too, so that the message says what
 * was given. */
static const char *set_word(cmd_parms *cmd, void *dummy, const char *arg)
{
    const word_rule_t *rule = STAPLE_CAST(const word_rule_t, WORD_RULE,
                                          cmd->info);
    const char *misplaced = check_place(cmd, rule->record);
    int i;

    (void)dummy;
    if (misplaced) {
        return misplaced;
    }
    for (i = 0; i < WORDS_MAX && rule->words[i].word; i++) {
        if (!ap_cstr_casecmp(arg, rule->words[i].word)) {
            *(int *)field_at(cmd, rule->record, rule->offset)
                = rule->words[i].value;
            return NULL;
        }
    }
    return apr_psprintf(cmd->pool, "%s: '%s' is not accepted; write %s",
                        cmd->cmd->name, arg, rule->accepted);
}

/* A switch of mod_ssl's. */
static const char *set_flag(cmd_parms *cmd, void *dummy, const char *line)
{
    const word_rule_t *rule = STAPLE_CAST(const word_rule_t, WORD_RULE,
                                          cmd->info);
    int *field = field_at(cmd, rule->record, rule->offset);
    const char *words = NULL;
    int is_on;
    staple_value_e value = staple_value_flag(&is_on, line, &words, cmd->pool);

    (void)dummy;
    if (value != STAPLE_VALUE_REFUSED) {
        *field = is_on;
    }
    return conclude(cmd, value, words);
}

static const char *set_span(cmd_parms *cmd, void *dummy, const char *arg)
{
    const span_rule_t *rule = STAPLE_CAST(const span_rule_t, SPAN_RULE,
                                          cmd->info);
    const char *misplaced = check_place(cmd, rule->record);
    const char *words = NULL;
    apr_interval_time_t span;
    staple_value_e value;

    (void)dummy;
    if (misplaced) {
        return misplaced;
    }
    value = staple_value_span(&span, arg, &rule->span, &words, cmd->pool);
    if (value != STAPLE_VALUE_REFUSED) {
        *(apr_interval_time_t *)field_at(cmd, rule->record, rule->offset)
            = span == STAPLE_VALUE_DEFAULT ? SAID_DEFAULT : span;
    }
    return conclude(cmd, value, words);
}

/* -1: it is none. */
static apr_int64_t whole_number(const char *arg)
{
    char *end;
    apr_int64_t number;

    if (!apr_isdigit(*arg)) {
        return -1;
    }
    number = apr_strtoi64(arg, &end, 10);
    return *end ? -1 : number;
}

static const char *set_count(cmd_parms *cmd, void *dummy, const char *arg)
{
    const count_rule_t *rule = STAPLE_CAST(const count_rule_t, COUNT_RULE,
                                           cmd->info);
    const char *misplaced = check_place(cmd, IN_MAIN);
    apr_int64_t count;

    (void)dummy;
    if (misplaced) {
        return misplaced;
    }
    count = whole_number(arg);
    if (count < rule->min || count > rule->max) {
        return apr_psprintf(cmd->pool, "%s: '%s' is no whole number from %d "
                            "to %d", cmd->cmd->name, arg, rule->min,
                            rule->max);
    }
    *(int *)field_at(cmd, IN_MAIN, rule->offset) = (int)count;
    return NULL;
}

static const char *set_url(cmd_parms *cmd, void *dummy, const char *arg)
{
    staple_server_conf_t *conf = staple_config_of(cmd->server);
    const char *words = NULL;
    const char *url;
    staple_value_e value = staple_value_url(&url, arg, &words, cmd->pool);

    (void)dummy;
    conf->force_url = url ? url : "";
    return conclude(cmd, value, words);
}

static const char *set_proxy(cmd_parms *cmd, void *dummy, const char *arg)
{
    staple_server_conf_t *conf = staple_config_of(cmd->server);
    staple_value_proxy_t *proxy = apr_palloc(cmd->pool, sizeof(*proxy));
    const char *words = NULL;
    staple_value_e value = staple_value_proxy(proxy, arg, &words, cmd->pool);

    (void)dummy;
    conf->proxy = proxy;
    return conclude(cmd, value, words);
}

static const char *set_ring(cmd_parms *cmd, staple_main_conf_t *conf,
                            const char *arg)
{
    const char *wrong = staple_cache_parse_spec(&conf->cache, arg, cmd->pool);

    if (wrong) {
        return apr_psprintf(cmd->pool, "%s: 'shmcb:%s': %s", cmd->cmd->name,
                            arg ? arg : "", wrong);
    }
    if (conf->cache.path) {
        conf->cache.path = ap_server_root_relative(cmd->pool,
                                                   conf->cache.path);
        if (!conf->cache.path) {
            return apr_psprintf(cmd->pool, "%s: 'shmcb:%s': invalid path",
                                cmd->cmd->name, arg);
        }
    }
    return NULL;
}

/* A provider of httpd's, made ready to share responses. */
static const char *make_share(cmd_parms *cmd, staple_share_t **share,
                              const char *arg)
{
    const char *wrong = staple_share_create(share, arg, cmd->pool,
                                            cmd->temp_pool);

    return wrong ? apr_psprintf(cmd->pool, "%s: '%s': %s", cmd->cmd->name, arg,
                                wrong)
                 : NULL;
}

static const char *set_share(cmd_parms *cmd, void *dummy, const char *arg)
{
    const char *misplaced = check_place(cmd, IN_MAIN);

    (void)dummy;
    return misplaced ? misplaced
                     : make_share(cmd, &staple_config_of(cmd->server)->main
                                        ->share, arg);
}

/* shmcb is the ring; any other provider is a share behind a ring of the
 * default size, unless StapleShare names one. The last line holds alone, so
 * what an earlier one said is forgotten. */
static const char *set_cache(cmd_parms *cmd, void *dummy, const char *arg)
{
    staple_main_conf_t *conf = staple_config_of(cmd->server)->main;
    const char *misplaced = check_place(cmd, IN_MAIN);

    (void)dummy;
    if (misplaced) {
        return misplaced;
    }
    conf->has_cache = 1;
    conf->cache.path = NULL;
    conf->cache.size = STAPLE_CACHE_SIZE_DEFAULT;
    conf->cache_share = NULL;
    if (!strcmp(arg, "shmcb") || !strncmp(arg, "shmcb:", 6)) {
        return set_ring(cmd, conf, arg[5] ? arg + 6 : "");
    }
    return make_share(cmd, &conf->cache_share, arg);
}

static const char *set_response_file(cmd_parms *cmd, void *dummy,
                                     const char *arg)
{
    staple_server_conf_t *conf = staple_config_of(cmd->server);
    const char *path = ap_server_root_relative(cmd->pool, arg);

    (void)dummy;
    if (!path) {
        return apr_psprintf(cmd->pool, "%s: '%s' is no valid path",
                            cmd->cmd->name, arg);
    }
    if (!conf->response_files) {
        conf->response_files = apr_array_make(cmd->pool, 1,
                                              sizeof(const char *));
    }
    APR_ARRAY_PUSH(conf->response_files, const char *) = path;
    return NULL;
}

static const char *set_directory(cmd_parms *cmd, void *dummy, const char *arg)
{
    staple_main_conf_t *conf = staple_config_of(cmd->server)->main;
    const char *wrong = check_place(cmd, IN_MAIN);

    (void)dummy;
    if (wrong) {
        return wrong;
    }
    conf->response_directory = ap_server_root_relative(cmd->pool, arg);
    return conf->response_directory
           ? NULL : apr_psprintf(cmd->pool, "%s: '%s' is no valid path",
                                 cmd->cmd->name, arg);
}

static const char *set_deny(cmd_parms *cmd, void *dummy, const char *arg)
{
    staple_main_conf_t *conf = staple_config_of(cmd->server)->main;
    const char *wrong = check_place(cmd, IN_MAIN);

    (void)dummy;
    if (wrong) {
        return wrong;
    }
    if (!conf->deny) {
        conf->deny = staple_deny_make(cmd->pool);
    }
    wrong = staple_deny_add(conf->deny, arg, cmd->temp_pool);
    return wrong ? apr_psprintf(cmd->pool, "%s: '%s' %s", cmd->cmd->name, arg,
                                wrong)
                 : NULL;
}

static const char *set_message_cmd(cmd_parms *cmd, void *dummy, int argc,
                                   char *const argv[])
{
    staple_main_conf_t *conf = staple_config_of(cmd->server)->main;
    const char *wrong = check_place(cmd, IN_MAIN);
    const char **words;
    apr_finfo_t info;

    (void)dummy;
    if (wrong) {
        return wrong;
    }
    if (argc < 1 || !*argv[0]) {
        return apr_psprintf(cmd->pool, "%s: write a program's path, and "
                            "arguments if it wants any", cmd->cmd->name);
    }
    words = apr_pcalloc(cmd->pool, ((apr_size_t)argc + 1) * sizeof(*words));
    memcpy(words, argv, (apr_size_t)argc * sizeof(*words));
    words[0] = ap_server_root_relative(cmd->pool, argv[0]);
    if (!words[0]
        || apr_stat(&info, words[0], APR_FINFO_TYPE | APR_FINFO_PROT,
                    cmd->temp_pool) != APR_SUCCESS
        || info.filetype != APR_REG
        || !(info.protection & (APR_FPROT_UEXECUTE | APR_FPROT_GEXECUTE
                                | APR_FPROT_WEXECUTE))) {
        return apr_psprintf(cmd->pool, "%s: '%s' is no program that can be "
                            "run; write the path of an executable file",
                            cmd->cmd->name, argv[0]);
    }
    conf->message_cmd = words;
    return NULL;
}

static const char *set_age(cmd_parms *cmd, void *dummy, const char *arg)
{
    const age_rule_t *rule = STAPLE_CAST(const age_rule_t, AGE_RULE,
                                         cmd->info);
    const char *words = NULL;
    staple_value_e value = staple_value_age(field_at(cmd, IN_SERVER,
                                                     rule->offset),
                                            arg, &words, cmd->pool);

    (void)dummy;
    return conclude(cmd, value, words);
}

/* ----- the table ----- */

#define ON_OFF { { "on", 1 }, { "off", 0 } }, "On or Off"

static const word_rule_t use_stapling = {
    WORD_RULE, IN_SERVER, INT(use_stapling), ON_OFF
};
static const word_rule_t return_errors = {
    WORD_RULE, IN_SERVER, INT(return_errors), ON_OFF
};
static const word_rule_t fake_try_later = {
    WORD_RULE, IN_SERVER, INT(fake_try_later), ON_OFF
};
static const word_rule_t fetch_issuer = {
    WORD_RULE, IN_SERVER, INT(fetch_issuer), ON_OFF
};
static const word_rule_t cache_grow = {
    WORD_RULE, IN_MAIN, INT_MAIN(cache_grow), ON_OFF
};
static const word_rule_t chain = {
    WORD_RULE, IN_MAIN, INT_MAIN(chain), ON_OFF
};
static const word_rule_t must_staple = {
    WORD_RULE, IN_MAIN, INT_MAIN(must_staple),
    { { "warn", STAPLE_MUST_WARN }, { "require", STAPLE_MUST_REQUIRE },
      { "strict", STAPLE_MUST_STRICT }, { "refuse", STAPLE_MUST_REFUSE } },
    "warn, require, strict or refuse"
};
static const word_rule_t status_actions = {
    WORD_RULE, IN_MAIN, INT_MAIN(status_actions), ON_OFF
};
static const word_rule_t cert_id_hash = {
    WORD_RULE, IN_SERVER, INT(cert_id_hash),
    { { "auto", STAPLE_CERT_HASH_AUTO }, { "sha1", STAPLE_CERT_HASH_SHA1 },
      { "sha256", STAPLE_CERT_HASH_SHA256 } },
    "auto, sha1 or sha256"
};

#define LENIENT(least) { least, 1 }
#define STRICT(least) { least, 0 }

static const span_rule_t skew = {
    SPAN_RULE, IN_SERVER, SPAN(skew), LENIENT("0")
};
static const span_rule_t max_age = {
    SPAN_RULE, IN_SERVER, SPAN(max_age), LENIENT("0")
};
static const span_rule_t responder_timeout = {
    SPAN_RULE, IN_SERVER, SPAN(responder_timeout),
    LENIENT("1ms") /* 0 could never work */
};
static const span_rule_t standard_timeout = {
    SPAN_RULE, IN_SERVER, SPAN(standard_timeout), LENIENT("0")
};
static const span_rule_t error_timeout = {
    SPAN_RULE, IN_SERVER, SPAN(error_timeout), LENIENT("0")
};
static const span_rule_t warmup = {
    SPAN_RULE, IN_MAIN, SPAN_MAIN(warmup), STRICT("0")
};

static const age_rule_t greatest_age = { AGE_RULE, SPAN(greatest_age) };
static const age_rule_t revoked_recheck = {
    AGE_RULE, SPAN(revoked_recheck)
};

static const count_rule_t fetch_concurrency = {
    COUNT_RULE, INT_MAIN(fetch_concurrency), 1, 1024
};

#define INFO(rule) ((void *)&(rule))

const command_rec staple_config_commands[] = {
    AP_INIT_RAW_ARGS("SSLUseStapling", set_flag, INFO(use_stapling), RSRC_CONF,
                  "Staple OCSP responses into TLS handshakes ('on', 'off')"),
    AP_INIT_TAKE1("SSLStaplingCache", set_cache, NULL, RSRC_CONF,
                  "Where responses are kept ('shmcb:path(size)')"),
    AP_INIT_TAKE1("SSLStaplingResponseTimeSkew", set_span, INFO(skew),
                  RSRC_CONF, "How far ahead thisUpdate may lie (seconds)"),
    AP_INIT_TAKE1("SSLStaplingResponderTimeout", set_span,
                  INFO(responder_timeout), RSRC_CONF,
                  "The time an exchange with a responder may take (seconds)"),
    AP_INIT_TAKE1("SSLStaplingResponseMaxAge", set_span, INFO(max_age),
                  RSRC_CONF, "How old a response may be served (seconds)"),
    AP_INIT_TAKE1("SSLStaplingStandardCacheTimeout", set_span,
                  INFO(standard_timeout), RSRC_CONF,
                  "The age at which a response is asked for anew (seconds)"),
    AP_INIT_TAKE1("SSLStaplingErrorCacheTimeout", set_span,
                  INFO(error_timeout), RSRC_CONF,
                  "The longest pause between attempts that fail (seconds)"),
    AP_INIT_RAW_ARGS("SSLStaplingReturnResponderErrors", set_flag,
                  INFO(return_errors), RSRC_CONF,
                  "Staple a responder's error where nothing valid is held "
                  "('on', 'off')"),
    AP_INIT_RAW_ARGS("SSLStaplingFakeTryLater", set_flag, INFO(fake_try_later),
                  RSRC_CONF,
                  "Staple tryLater where no responder answers ('on', 'off')"),
    AP_INIT_TAKE1("SSLStaplingForceURL", set_url, NULL, RSRC_CONF,
                  "The responder to ask instead of the certificate's own"),
    AP_INIT_TAKE1("SSLOCSPProxyURL", set_proxy, NULL, RSRC_CONF,
                  "The HTTP proxy to reach responders through"),
    AP_INIT_TAKE1("StapleCacheGrow", set_word, INFO(cache_grow), RSRC_CONF,
                  "Let the ring grow at start to what the certificates need "
                  "('on', 'off')"),
    AP_INIT_TAKE1("StapleCertIDHash", set_word, INFO(cert_id_hash), RSRC_CONF,
                  "The hash of CertIDs in requests ('auto', 'sha1', 'sha256')"),
    AP_INIT_TAKE1("StapleChain", set_word, INFO(chain), RSRC_CONF,
                  "Staple the certificates of CAs in the chain, too ('on', "
                  "'off')"),
    AP_INIT_ITERATE("StapleDenyResponder", set_deny, NULL, RSRC_CONF,
                    "Networks whose addresses are never asked"),
    AP_INIT_TAKE1("StapleFetchConcurrency", set_count,
                  INFO(fetch_concurrency), RSRC_CONF,
                  "How many exchanges with responders run at a time"),
    AP_INIT_TAKE1("StapleMaxAge", set_age, INFO(greatest_age), RSRC_CONF,
                  "The age at which a response is not stapled any more ('10d', "
                  "'off')"),
    AP_INIT_TAKE1("StapleRevokedRecheck", set_age, INFO(revoked_recheck),
                  RSRC_CONF,
                  "How soon the CA is asked again about a certificate that it "
                  "has revoked ('1h', 'off')"),
    AP_INIT_TAKE1("StapleFetchIssuer", set_word, INFO(fetch_issuer), RSRC_CONF,
                  "Fetch the issuer's certificate where the chain lacks it "
                  "('on', 'off')"),
    AP_INIT_TAKE_ARGV("StapleMessageCmd", set_message_cmd, NULL, RSRC_CONF,
                      "The program to run when something changes for a "
                      "certificate"),
    AP_INIT_TAKE1("StapleMustStaple", set_word, INFO(must_staple), RSRC_CONF,
                  "What to do about a must-staple certificate with nothing to "
                  "staple ('warn', 'require', 'strict', 'refuse')"),
    AP_INIT_TAKE1("StapleResponseDirectory", set_directory, NULL, RSRC_CONF,
                  "Where responses are taken from for certificates to come"),
    AP_INIT_ITERATE("StapleResponseFile", set_response_file, NULL, RSRC_CONF,
                    "Files with OCSP responses to staple, DER or PEM"),
    AP_INIT_TAKE1("StapleShare", set_share, NULL, RSRC_CONF,
                  "Where a fleet shares responses ('redis:host:port')"),
    AP_INIT_TAKE1("StapleStatusActions", set_word, INFO(status_actions),
                  RSRC_CONF, "Let the status page refresh and forget responses "
                  "('on', 'off')"),
    AP_INIT_TAKE1("StapleWarmup", set_span, INFO(warmup), RSRC_CONF,
                  "How long a start may wait for missing responses"),
    { .name = NULL }
};
