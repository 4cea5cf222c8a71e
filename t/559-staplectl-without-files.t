# Licensed under the Apache License, Version 2.0; see LICENSE.

# A ring's file alone is enough for staplectl to count what the status page
# counts: it says which certificates are must-staple, when each ends, and why
# some have no response at all, in the same words.

use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP;
use Staple;
use Staple::Status;
use Staple::Work qw(build_dir);

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my $bare = $ca->leaf(name => 'bare.test', ocsp => $responder->url);
my %leaf = (
    good => $ca->leaf(name => 'good.test', ocsp => $responder->url),
    must => $ca->leaf(name => 'must.test', ocsp => $responder->url,
                      must_staple => 1),
    none => $ca->leaf(name => 'none.test'),
    hopeless => $ca->leaf(name => 'hopeless.test', must_staple => 1),
    self => $ca->leaf(name => 'self.test', self_signed => 1),
    forced => $ca->leaf(name => 'forced.test'),
    several => $ca->leaf(name => 'several.test', ocsp => $responder->url),
    bare => { %$bare, conf => "SSLCertificateFile $bare->{cert}\n"
                  . "SSLCertificateKeyFile $bare->{key}\n" },
);
$responder->tell('http 500', $leaf{$_}) for qw(must forced);
$responder->tell('several', $leaf{several});
my $httpd = Staple::Httpd->new(
    ports => 2, conf => stapling(status_conf()),
    vhosts => [map { { cert => $leaf{$_}, name => "$_.test",
                       conf => $_ eq 'forced'
                           ? 'SSLStaplingForceURL ' . $responder->url : '' } }
               sort keys %leaf]);
my $ring = $httpd->dir . '/logs/stapling_cache';
my $ctl = build_dir() . '/staplectl/staplectl';

sub ctl { return run($ctl, @_, '--ring', $ring) }
sub json { return decode_json((ctl(@_, '--json'))[1]) }

# What both say, but for the exact names.
sub said
{
    my ($json) = @_;

    return join "\n", $json->{summary},
        map({ "$_ $json->{states}{$_}" } sort keys %{ $json->{states} }),
        sort map { ($_->{hosts}[0] =~ s/:\d+//r)
                   . " $_->{state} $_->{severity} "
                   . ($_->{cause} // '') . ' ' . $_->{numbers}{must_staple}
                   . ' ' . ($_->{numbers}{not_after} // '-') }
            @{ $json->{certificates} };
}

$httpd->start;
my $status = Staple::Status->new($httpd);
wait_for_staple($httpd, 'good', name => 'good.test');
ok(wait_for(sub {
       $status->cert('must.test')->{outcome}
           && $status->cert('forced.test')->{outcome};
   }), 'the responder was asked');
ok(wait_for(sub { said($status->json) eq said(json('list')) }),
   'staplectl says what the page says')
    or is(said(json('list')), said($status->json), '...');

my ($exit, $out) = ctl('list');
like($out, qr/^refused .*must\.test/m, 'must-staple, without a file');
like($out, qr/^refused .*hopeless\.test.*names no OCSP responder/m,
     'the same, for which nobody is asked, with the reason');
like($out, qr/^missing .*bare\.test.*issuer/m, 'one without its issuer');
like($out, qr/^not_applicable .*none\.test.*names no OCSP responder/m,
     'one whose CA runs no responder');
like($out, qr/^not_applicable .*self\.test.*self-signed/m, 'a self-signed one');
($exit, $out) = ctl('show', 'must.test');
like($out, qr/^must-staple +yes$/m, 'show: must-staple');
like($out, qr/^ends +20\d\d-/m, '... and when it ends');
# One of two serial numbers in a response is that of the certificate.
wait_for_staple($httpd, 'good', name => 'several.test');
for my $case ([qr/not known/], [qr/\Q$leaf{several}{serial}\E/, '--cert',
                                $leaf{several}{chain}]) {
    my ($serial, @given) = @$case;

    ok(wait_for(sub {
        $out = (ctl('show', 'several.test', @given))[1];
        return $out =~ /^state +stapled$/m;
    }), "show several.test @given");
    like($out, qr/^serial +$serial$/m, '... a response that is about several');
}
($exit, $out) = ctl('show', 'must.test');
# What to type does not need the responder's URL, which a ring does not have.
my ($remedy) = $out =~ /^look at +(.*)$/m;
my ($command) = $remedy =~ /run: curl -v URL, .* this prints: (openssl [^;]+)/;
ok($command, 'the remedy has a command') or diag($out);
$command =~ s/CERT\.pem/$leaf{must}{cert}/;
is((run('sh', '-c', $command))[1], $responder->url . "\n",
   '... that prints the URL');
($exit, $out) = ctl('show', 'must.test', '--cert', $leaf{must}{chain});
like($out, qr/run: curl -v \Q@{[$responder->url]}\E;/,
     '... and names it where the certificate is given');
# The directives of the server are in no file: that it asks somebody about a
# certificate that names no responder, the ring knows.
for my $given ([], ['--cert', $leaf{forced}{chain}]) {
    ($exit, $out) = ctl('check', 'forced.test', @$given);
    is($exit, 2, "check @$given: SSLStaplingForceURL, and no response");
    like($out, qr/forced\.test\S*: missing: HTTP status 500/, '... and why');
}
# A plug-in's text ends at the first "|", in each of its lines.
for my $names (['must.test'], []) {
    ($exit, $out) = ctl('check', @$names);
    is($exit, 2, "check @$names: critical");
    like($out, qr/\A[^|\n]+ \| certificates=[^|\n]+\n[^|]*\z/,
         '... with one place where the performance data begin');
}
($exit, $out) = ctl('check', 'none.test');
is($exit, 0, 'check: one to which OCSP does not apply is well');
($exit, $out) = ctl('check', 'hopeless.test');
is($exit, 2, '... one that clients refuse is not');
($exit, $out) = ctl('refresh', 'none.test');
is($exit, 3, 'refresh: nobody is asked about it');
like($out, qr/no responder is asked about .*none\.test:\d+ \(its CA names/,
     '... and why');

ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/\[staple:(?:warn|error|crit)\]/, qr/AH0(?:2217|2604|1909)/);

# The ring of a server that was stopped for longer than its response lasts.
my $brief = $ca->leaf(name => 'brief.test', ocsp => $responder->url);
$responder->tell('validity -3600 5', $brief);
$httpd = Staple::Httpd->new(conf => stapling(), vhosts => [{ cert => $brief }]);
$ring = $httpd->dir . '/logs/stapling_cache';
$httpd->start;
wait_for_staple($httpd, 'good');
ok($httpd->stop, 'stapled, and httpd is stopped');
ok(wait_for(sub { (ctl('check', 'brief.test'))[1] =~ /missing/ }, 30),
   '... until the response has ended');
($exit, $out) = ctl('show', 'brief.test');
like($out, qr/^state +missing: nothing newer has come; the last response ended at 20/m,
     '... which is why nothing would be stapled');
$httpd->log_ok(qr/STP020[3-7]/);

done_testing;
