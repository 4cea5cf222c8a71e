# Licensed under the Apache License, Version 2.0; see LICENSE.

# The responder that can be told to lie does as it is told: the truth by
# default, to openssl and to curl, by GET and by POST, and each fault when
# asked.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

use MIME::Base64 qw(encode_base64);

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my $leaf = $ca->leaf(name => 'a.test');
my $other = $ca->leaf(name => 'b.test');
my $request = work_dir() . '/request.der';

run('openssl', 'ocsp', '-issuer', $leaf->{issuer}, '-cert', $leaf->{cert},
    '-no_nonce', '-reqout', $request);

# What openssl, as an OCSP client, thinks of the answer about a certificate.
sub verdict
{
    my ($cert, @args) = @_;
    my (undef, $out) = run('openssl', 'ocsp', @args, '-issuer',
                           $cert->{issuer}, '-cert', $cert->{cert}, '-CAfile',
                           $ca->root, '-verify_other', $cert->{issuer},
                           '-no_nonce', '-timeout', 20, '-url',
                           $responder->url);
    return $out;
}

# curl's exit status and what came, by POST.
our $patience = 10;    # seconds
sub post { return run('curl', '-s', '-m', $patience, '-i', '--data-binary',
                      "\@$request", @_, $responder->url) }

like(verdict($leaf), qr/verify OK.*: good/s, 'good by default');
is($responder->count($leaf), 1, 'one request was counted');
is($responder->count($other), 0, 'and none for another certificate');

my ($seen) = $responder->log;
is($seen->{method}, 'POST', 'logged: the method');
is($seen->{serial}, $leaf->{serial}, 'logged: the serial');
is($seen->{hash}, 'SHA1', 'logged: the hash of the CertID');
is("$seen->{singles} $seen->{extensions}", '1 0', 'logged: what is in it');

my $path = encode_base64(read_file($request), '');
$path =~ s/([^A-Za-z0-9])/sprintf '%%%02X', ord $1/ge;
my ($exit, $out) = run('curl', '-si', $responder->url("/some/path/$path"));
like($out, qr{^HTTP/1.1 200 OK.*application/ocsp-response}s, 'GET is answered');
is(($responder->log)[-1]{serial}, $leaf->{serial}, 'GET is understood');

# Command, and what openssl says to it.
my @verdicts = (
    ['revoked 3600 1',      qr/OK.*: revoked.*Reason: keyCompromise/s],
    ['unknown',             qr/OK.*: unknown/s],
    ['expired',             qr/status expired/],
    ['notyet',              qr/not yet valid/],
    ['nonext',              qr/OK(?!.*Next Update).*: good/s],
    ['othercert',           qr/No Status found/],
    ['otherissuer',         qr/No Status found/],
    ['othersigner',         qr/Verify Failure/],
    ['badsig',              qr/Verify Failure/],
    ['several',             qr/OK.*: good/s],
    ['big 9000',            qr/OK.*: good/s],
    ['delegated good',      qr/OK.*: good/s],
    ['delegated no-eku',    qr/Verify Failure.*missing ocspsigning/s],
    ['delegated expired',   qr/Verify Failure.*expired/s],
    ['delegated stranger',  qr/Verify Failure/],
    ['by-key',              qr/OK.*: good/s],
    ['trylater',            qr/trylater \(3\)/],
    ['malformed',           qr/malformedrequest \(1\)/],
    ['internal',            qr/internalerror \(2\)/],
    ['sigrequired',         qr/sigrequired \(5\)/],
    ['unauthorized',        qr/unauthorized \(6\)/],
    ['sha256-only',         qr/unauthorized \(6\)/],
    ['garbage',             qr/Error querying OCSP responder/],
    ['truncated',           qr/Error querying OCSP responder/],
    ['chunked | http10',    qr/: good/],
);

for (@verdicts) {
    my ($command, $expected) = @$_;

    $responder->only($command);
    like(verdict($leaf), $expected, $command);
    $responder->tell('clear');
}
$responder->tell('sha256-only');
like(verdict($leaf, '-sha256'), qr/: good/, 'sha256-only: SHA-256 is fine');
$responder->tell('clear');

# Command, curl's exit status, and what curl got.
my @transports = (
    ['hang-before',                28, qr/^$/],
    ['hang-middle',                28, qr/^HTTP.*\n\r\n/s],
    ['slow 3000',                  28, qr/^$/],
    ['drip 20',                    28, qr/^HTTP/],
    ['cut',                        18, qr/^HTTP/],
    ['drop',                       52, qr/^$/],
    ['reset',                      56, qr/^$/],
    ['http 404',                   0,  qr/ 404 Not Found/],
    ['http 500',                   0,  qr/ 500 Internal/],
    ['http 503 120',               0,  qr/ 503 .*Retry-After: 120\r/s],
    ['redirect http://x.test/ 307', 0, qr/ 307 .*Location: http:..x.test.\r/s],
    ['header Age: 7',              0,  qr/^Age: 7\r/m],
    ['type text/plain',            0,  qr{^Content-Type: text/plain\r}m],
    ['chunked',                    0,  qr/^Transfer-Encoding: chunked\r/m],
    ['close',                      0,  qr/^Connection: close\r/m],
    ['http10',                     0,  qr{^HTTP/1\.0 200}],
    ['get-only',                   0,  qr/ 405 /],
    ['post-only',                  0,  qr/ 200 /],
    ['long 70000',                 0,  qr/^Content-Length: 70000\r/m],
    ['prompt',                     0,  qr/ 200 OK/],
);

for (@transports) {
    my ($command, $status, $expected) = @$_;

    $responder->only($command);
    # where the client is to give up, what it gets before has time to come
    local $patience = $status != 28 ? 10 : $expected eq qr/^$/ ? 0.5 : 5;
    ($exit, $out) = post();
    is($exit, $status, "$command: curl's exit status");
    like($out, $expected, "$command: the answer");
    $responder->tell('clear');
}

$responder->tell('etag "e1"');
like((post('-H', 'If-None-Match: "e1"'))[1], qr/ 304 /, 'etag: 304');
$responder->tell('clear');

$responder->tell('revoked', $other);
like(verdict($leaf), qr/: good/, 'a lie about one certificate');
like(verdict($other), qr/: revoked/, 'is none about another');
$responder->tell('clear', $other);
like(verdict($other), qr/: good/, 'and is forgotten when told so');

$responder->tell('refuse');
is((post())[0], 7, 'refuse: curl cannot connect');
$responder->tell('listen');
is((post())[0], 0, 'listen: it can again');

# Ten answers of three seconds each are at work beside each other.
$responder->tell('reset-counters | slow 3000');
run('curl', '-s', '--parallel', '--parallel-immediate', '--parallel-max', 10,
    '--data-binary', "\@$request", '-o', '/dev/null',
    $responder->url('/[1-10]'));
my %stats = $responder->stats;
cmp_ok($stats{'max-busy'}, '>', 4, 'slow answers do not wait for each other');

is($responder->stop, 0, 'it ends in good order');

done_testing;
