/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The style sheet of the status page, and the Content-Security-Policy that
 * names it by its hash, so that a browser applies this style and no other.
 */

#include "status_int.h"

#include <apr_base64.h>
#include <apr_strings.h>
#include <openssl/evp.h>

const char staple_status_style[] =
    ":root{color-scheme:light dark;--bg:#f6f7f9;--card:#fff;--ink:#1c2430;"
    "--dim:#5b6675;--line:#dde2e9;--good:#17713a;--good-bg:#e3f4e8;"
    "--warn:#8a5200;--warn-bg:#fdf0d8;--bad:#b3201c;--bad-bg:#fde7e5;"
    "--none:#5b6675;--none-bg:#edf0f4;--link:#1a5fb4}\n"
    "@media(prefers-color-scheme:dark){:root{--bg:#12161c;--card:#1b212a;"
    "--ink:#e6eaf0;--dim:#9aa6b5;--line:#2d3643;--good:#6fd08c;"
    "--good-bg:#163423;--warn:#f0b95a;--warn-bg:#3a2c10;--bad:#ff9089;"
    "--bad-bg:#431c1b;--none:#9aa6b5;--none-bg:#262e39;--link:#83b7f5}}\n"
    "*{box-sizing:border-box}"
    "body{margin:0;background:var(--bg);color:var(--ink);"
    "font:15px/1.45 system-ui,-apple-system,'Segoe UI',Roboto,"
    "'DejaVu Sans',sans-serif}"
    "header,main,footer{max-width:90rem;margin:0 auto;padding:0 1.25rem}"
    "header{padding-top:1.1rem;color:var(--dim);font-size:.9rem}"
    "a{color:var(--link);text-decoration:none}a:hover{text-decoration:"
    "underline}"
    "h1{margin:.15rem 0 .8rem;font-size:1.55rem;line-height:1.25;"
    "color:var(--ink);overflow-wrap:anywhere}"
    "h2{margin:1.9rem 0 .6rem;font-size:1.1rem}"
    ".sum{border-radius:.6rem;padding:.8rem 1rem;font-size:1.15rem;"
    "font-weight:600;margin:0 0 .8rem}"
    ".since{font-size:.9rem;font-weight:400}"
    ".chips{display:flex;flex-wrap:wrap;gap:.4rem;margin:1.4rem 0 1rem;"
    "padding:0;list-style:none}"
    ".tag{display:inline-block;border-radius:1rem;padding:.1rem .65rem;"
    "font-size:.85rem;font-weight:600;white-space:nowrap}"
    ".good{color:var(--good);background:var(--good-bg)}"
    ".warn{color:var(--warn);background:var(--warn-bg)}"
    ".bad{color:var(--bad);background:var(--bad-bg)}"
    ".none{color:var(--none);background:var(--none-bg)}"
    "form{display:flex;flex-wrap:wrap;gap:.5rem;margin:0 0 .8rem}"
    "input,select,button{font:inherit;color:inherit;background:var(--card);"
    "border:1px solid var(--line);border-radius:.4rem;padding:.4rem .7rem;"
    "min-height:2.5rem}"
    "input[type=search]{flex:1 1 14rem;min-width:0;max-width:30rem}"
    "button{cursor:pointer;font-weight:600}"
    "table{width:100%;border-collapse:collapse;background:var(--card);"
    "border:1px solid var(--line);border-radius:.6rem;overflow:hidden;"
    "border-spacing:0}"
    "th,td{text-align:left;vertical-align:top;padding:.6rem .75rem;"
    "border-top:1px solid var(--line);overflow-wrap:anywhere}"
    "thead th{border-top:0;color:var(--dim);font-size:.8rem;font-weight:600;"
    "white-space:nowrap}"
    ".name{font-weight:600;font-size:1.02rem}"
    ".dim{color:var(--dim);font-size:.85rem}"
    ".num{text-align:right;white-space:nowrap;"
    "font-variant-numeric:tabular-nums}"
    "th.num{text-align:right}"
    ".certs td{padding:.4rem .75rem}.certs .c1{width:38%}"
    ".certs .c3,.certs .c4{white-space:nowrap}"
    ".why{color:var(--dim);font-size:.88rem}"
    ".used{color:var(--dim);font-size:.8rem;white-space:nowrap;"
    "font-variant-numeric:tabular-nums}"
    "svg.bar{display:inline-block;width:4.5rem;height:.45rem;"
    "border-radius:.25rem;margin:0 .35rem 0 .5rem;background:var(--line)}"
    "rect.good{fill:var(--good)}rect.warn{fill:var(--warn)}"
    "rect.bad{fill:var(--bad)}"
    "#trouble .card{color:var(--ink);background:var(--card);"
    "border-left:.3rem solid var(--line);padding:.6rem 1rem;"
    "margin:0 0 .6rem}#trouble .card.bad{border-left-color:var(--bad)}"
    "#trouble .card.warn{border-left-color:var(--warn)}"
    "h3{margin:0 0 .2rem;font-size:1rem;overflow-wrap:anywhere}"
    "#trouble p{margin:.1rem 0;overflow-wrap:anywhere}"
    "a.tag:hover{text-decoration:none;filter:brightness(.95)}"
    "a.tag.chosen{outline:2px solid currentColor}"
    "a.button{border:1px solid var(--line);border-radius:.4rem;"
    "background:var(--card);padding:.4rem .7rem;min-height:2.5rem;"
    "font-weight:600;color:inherit;display:inline-flex;align-items:center}"
    ".found{margin:.2rem 0 .8rem;overflow-wrap:anywhere}"
    "label{flex:1 1 100%}"
    "input[type=checkbox]{min-height:0}"
    ".grid{display:grid;gap:0 2rem;overflow:hidden;"
    "grid-template-columns:repeat(auto-fill,minmax(min(19rem,100%),1fr))}"
    "dl{margin:0;display:flex;justify-content:space-between;gap:1rem;"
    "padding:.35rem 0;margin-top:-1px;border-top:1px solid var(--line);"
    "border-bottom:1px solid transparent}"
    "dt{color:var(--dim)}dd{margin:0;text-align:right;overflow-wrap:anywhere;"
    "font-variant-numeric:tabular-nums}"
    ".card{background:var(--card);border:1px solid var(--line);"
    "border-radius:.6rem;padding:.9rem 1.1rem;margin:0 0 1rem}"
    ".card h2{margin-top:0}"
    ".rows dl{justify-content:flex-start}.rows dt{flex:0 0 15rem}"
    ".rows dd{text-align:left;flex:1 1 0;min-width:0}"
    ".mono{font-family:ui-monospace,'DejaVu Sans Mono',monospace;"
    "font-size:.85rem}"
    ".jump{display:flex;flex-wrap:wrap;gap:.3rem 1.2rem;margin:.8rem 0;"
    "font-size:.9rem}"
    ".pages{display:flex;gap:1rem;justify-content:center;margin:.8rem 0}"
    "footer{padding-top:1.2rem;padding-bottom:2rem;color:var(--dim);"
    "font-size:.85rem}"
    "@media(max-width:1000px){.certs .c1{width:27%}svg.bar{display:none}}"
    "@media(max-width:700px){header,main,footer{padding-left:.8rem;"
    "padding-right:.8rem}h1{font-size:1.3rem}"
    "table,tbody,tr,td{display:block;width:auto!important}"
    "thead{display:none}"
    "table{border:0;background:none;border-radius:0;overflow:visible}"
    "tr{background:var(--card);border:1px solid var(--line);"
    "border-radius:.6rem;padding:.7rem .9rem;margin:0 0 .7rem}"
    "td{border:0;padding:.18rem 0}"
    "td[data-l]::before{content:attr(data-l) ': ';color:var(--dim);"
    "font-size:.85rem}.num{text-align:left;white-space:normal}"
    ".rows dl{flex-wrap:wrap;justify-content:space-between;gap:0 1rem}"
    ".rows dt{flex:none}.rows dd{flex:0 1 auto}"
    ".certs td{padding:.1rem 0}"
    ".certs .c1,.certs .c2{display:inline;width:auto}"
    ".certs .c1{margin-right:.6rem}.certs .c2::after{content:'';"
    "display:block}.certs .c4{display:inline-block}"
    ".certs .c3{display:inline-block!important;margin-right:1rem}}\n";

const char *staple_status_policy(apr_pool_t *p)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int len = 0;
    char text[2 * EVP_MAX_MD_SIZE];

    EVP_Digest(staple_status_style, sizeof(staple_status_style) - 1, digest,
               &len, EVP_sha256(), NULL);
    apr_base64_encode_binary(text, digest, (int)len);
    return apr_pstrcat(p, "default-src 'none'; style-src 'sha256-", text,
                       "'; form-action 'self'; frame-ancestors 'none'; "
                       "base-uri 'none'", NULL);
}
