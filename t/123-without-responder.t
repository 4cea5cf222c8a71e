# Licensed under the Apache License, Version 2.0; see LICENSE.

# A certificate without an OCSP URI is normal: the server starts, says so in
# one INFO line, staples nothing for it, and other sites are unharmed. The same
# holds for a self-signed one.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Work qw(build_dir);

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my $with = $ca->leaf(name => 'with.test', ocsp => $responder->url);
my @without = map { $ca->leaf(name => "without$_.test") } 1 .. 3;
my $self_signed = $ca->leaf(name => 'self.test', self_signed => 1);

my $httpd = Staple::Httpd->new(
    conf   => stapling(),
    vhosts => [map { { cert => $_ } } @without, $self_signed, $with]);
$httpd->start;

is(wait_for_staple($httpd, 'good', name => 'with.test')->{staple}, 'good',
   'the site with a responder is stapled');
for my $leaf (@without, $self_signed) {
    my $got = handshake($httpd, name => $leaf->{name});
    ok($got->{ok}, "$leaf->{name}: is served");
    is($got->{staple}, 'none', "$leaf->{name}: without a staple");
}
is(scalar(grep { /without a staple/ } $httpd->staple_lines('info')), 1,
   'one INFO line for all of them');
ok($httpd->stop, 'httpd stops in good order');
# mod_ssl looks for an issuer in vain before it asks any module, and says so.
$httpd->log_ok(qr/AH0(?:2217|2604).*self[.]test/);

# Nothing to staple at all.
$httpd = Staple::Httpd->new(conf   => stapling(),
                            vhosts => [map { { cert => $_ } } @without]);
$httpd->start;
is(handshake($httpd, name => 'without1.test')->{staple}, 'none',
   'a server with no such certificate starts too');
is(scalar(() = join("\n", $httpd->staple_lines('notice'))
              =~ /STP0321: SSLUseStapling is on, but no certificate.* 3 because its CA names no/g),
   1, 'the log says at once that nothing is stapled, and why');

# Whoever asks is told why.
my $ctl = build_dir() . '/staplectl/staplectl';
my $ring = $httpd->dir . '/logs/stapling_cache';
my ($exit, $out);

for my $command (qw(list check), 'show without1.test', 'refresh --all') {
    ($exit, $out) = run($ctl, split(' ', $command), '--ring', $ring);
    is($exit, 3, "staplectl $command: there is no ring");
    like($out, qr/can be stapled.*why others cannot, run: httpd -t -D DUMP/,
         '... and what says why');
}
for my $command (qw(list check show)) {
    ($exit, $out) = run($ctl, $command, '--ring', $ring,
                        map { ('--cert', $_->{chain}) } @without[0, 1]);
    is($exit, 0, "staplectl $command --cert: all is well");
    like($out, qr/its CA names no OCSP responder/, '... and why')
        if $command ne 'check';
}
($exit, $out) = run($ctl, 'check', '--ring', $ring, '--cert', $with->{chain});
is($exit, 2, 'one that should be stapled is not well');
like($out, qr/there is no ring: a server makes it when it starts/,
     '... and why');
($exit, $out) = run($ctl, 'lint', $httpd->dir . '/conf/httpd.conf');
like($out, qr/^note: certificates are not looked at: httpd -t -D DUMP/m,
     'lint says who looks at certificates');
($exit, $out) = $httpd->configtest('-D', 'DUMP_STAPLING');
is($exit, 0, 'the preflight: nothing needs attention');
like($out, qr/^  stapled      0 of 3 certificates$/m, '... of nothing');
like($out, qr/^  stapled      no: its CA names no OCSP responder$/m,
     '... and why');
ok($httpd->stop, 'and stops in good order');
$httpd->log_ok;

done_testing;
