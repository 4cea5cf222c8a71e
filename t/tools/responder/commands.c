/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The commands: a table of all that can be said, and the setters it names.
 */

#include "responder.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/evp.h>

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
    s->only_hash = cmd->value;
    s->other_hash_status = !strcmp(args, "malformed")
                           ? OCSP_RESPONSE_STATUS_MALFORMEDREQUEST
                           : OCSP_RESPONSE_STATUS_UNAUTHORIZED;
    return NULL;
}

static const char *set_method(settings_t *s, const command_t *cmd, char *args)
{
    const char *method = cmd->value == 'P' ? "POST" : "";

    (void)args;
    strcpy(s->only_method, cmd->value == 'G' ? "GET" : method);
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
    return close_doors(args);
}

static const char *run_listen(FILE *out, char *args)
{
    (void)out;
    return open_doors(args);
}

static const char *run_block(FILE *out, char *args)
{
    (void)out;
    return block_doors(args);
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
    ANSWER("both", ANSWER_BOTH, "", "two about it: good, then revoked"),
    ANSWER("both-turned", ANSWER_BOTH_TURNED, "",
           "two about it: revoked, then good"),
    ANSWER("critical", ANSWER_CRITICAL, "",
           "with an unknown critical extension"),
    ANSWER("big", ANSWER_BIG, "BYTES", "true, with an extension that large"),
    ANSWER("stuffed", ANSWER_STUFFED, "BYTES",
           "the same, under the status tryLater"),
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
    DELIVERY("not-http", DELIVERY_NOT_HTTP, "", "another protocol's greeting"),
    DELIVERY("once", DELIVERY_ONCE, "",
             "answer one request of a connection and ignore the next"),
    DELIVERY("deaf", DELIVERY_DEAF, "",
             "accept, and never read (not for a certificate)"),
    DELIVERY("hangup", DELIVERY_HANGUP, "",
             "accept, and close at once (not for a certificate)"),
    { "http", ASPECT_STATUS, 0, set_http, NULL, "STATUS [RETRY-AFTER]",
      "that HTTP status, with Retry-After if given" },
    { "redirect", ASPECT_STATUS, 0, set_redirect, NULL, "URL [STATUS]",
      "302 (or STATUS) to there" },
    FRAMING("length", FRAMING_LENGTH, "Content-Length (as at start)"),
    FRAMING("chunked", FRAMING_CHUNKED, "chunks of 100 bytes"),
    FRAMING("close", FRAMING_CLOSE, "no length: the close is the end"),
    FRAMING("open", FRAMING_OPEN,
            "no length, and the connection stays open"),
    FRAMING("http10", FRAMING_HTTP10, "HTTP/1.0 without a length"),
    { "type", ASPECT_TYPE, 0, set_type, NULL, "[CONTENT-TYPE]",
      "that Content-Type, or none" },
    { "header", ASPECT_HEADERS, 0, set_header, NULL, "NAME: VALUE",
      "one more header, e.g. Cache-Control: max-age=60" },
    { "no-headers", ASPECT_HEADERS, 0, set_no_headers, NULL, "",
      "forget them" },
    { "etag", ASPECT_ETAG, 0, set_etag, NULL, "[\"VALUE\"]",
      "send it, and 304 to whoever has it" },
    { "sha256-only", ASPECT_HASH, NID_sha256, set_hash, NULL, "[malformed]",
      "unauthorized, or that, for other CertIDs" },
    { "sha1-only", ASPECT_HASH, NID_sha1, set_hash, NULL, "[malformed]",
      "unauthorized, or that, for other CertIDs" },
    { "any-hash", ASPECT_HASH, 0, set_hash, NULL, "", "as at start" },
    { "get-only", ASPECT_METHOD, 'G', set_method, NULL, "", "405 for others" },
    { "post-only", ASPECT_METHOD, 'P', set_method, NULL, "",
      "405 for others" },
    { "any-method", ASPECT_METHOD, 0, set_method, NULL, "", "as at start" },
    PROCESS("refuse", run_refuse, "[ADDRESS]",
            "end all connections and refuse new ones"),
    PROCESS("block", run_block, "[ADDRESS]",
            "end all connections and complete no new ones"),
    PROCESS("listen", run_listen, "[ADDRESS]",
            "listen again, on the same port"),
    PROCESS("count", run_count, "[SERIAL|ADDRESS]", "requests so far"),
    PROCESS("log", run_log, "",
            "a line per request, separated by tabs: time, method, serial, "
            "CertID hash, connection, target, Host, User-Agent, requests in "
            "it, extensions in it, our address"),
    PROCESS("last", run_last, "", "the head of the last request"),
    PROCESS("stats", run_stats, "",
            "requests, connections, open and busy now and at most"),
    PROCESS("reset-counters", run_reset_counters, "", "forget all of that"),
    PROCESS("quit", run_quit, "", "end"),
    PROCESS("help", run_help, "", "this list"),
    { NULL, 0, 0, NULL, NULL, NULL, NULL }
};

void print_commands(FILE *out, const char *prefix)
{
    const command_t *cmd;
    char text[64];

    for (cmd = commands; cmd->name; cmd++) {
        snprintf(text, sizeof(text), "%s %s", cmd->name, cmd->usage);
        fprintf(out, "%s%-24s %s\n", prefix, text, cmd->help);
    }
    fprintf(out, "%s%-24s %s\n", prefix, "clear",
            "back to the start; @TARGET clear: forget what is that target's");
}

static const char *run_help(FILE *out, char *args)
{
    (void)args;
    print_commands(out, "- ");
    return NULL;
}

static const char *apply(const command_t *cmd, const char *target, char *args)
{
    settings_t *s = settings_of(target);
    settings_t next = *s;
    const char *problem = cmd->set(&next, cmd, args);

    if (!problem) {
        next.given |= cmd->aspects;
        *s = next;
    }
    return problem;
}

/* One command without its target. The lock is held where it sets. */
static const char *obey(char *text, const char *target, FILE *out)
{
    size_t name_len = strcspn(text, " \t");
    char *args = text + name_len + strspn(text + name_len, " \t");
    const command_t *cmd = commands;
    const char *problem;

    text[name_len] = '\0';
    if (!strcmp(text, "clear")) {
        pthread_mutex_lock(&lock);
        clear_settings(target);
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
        return *target ? "not for one target" : cmd->run(out, args);
    }
    pthread_mutex_lock(&lock);
    problem = apply(cmd, target, args);
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
void obey_line(char *line, FILE *out)
{
    char target[SERIAL_LEN] = "";
    const char *problem = NULL;
    char *next;

    line = trim(line);
    if (*line == '@') {
        size_t len = strcspn(line, " \t");
        char *rest = line + len + (line[len] != '\0');

        line[len] = '\0';
        problem = normalize_target(line + 1, target);
        line = rest;
    }
    while (line && !problem) {
        next = strchr(line, '|');
        if (next) {
            *next++ = '\0';
        }
        problem = obey(trim(line), target, out);
        line = next;
    }
    fprintf(out, problem ? "error %s\n" : "ok\n", problem);
    fflush(out);
}
