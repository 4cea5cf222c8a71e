# Licensed under the Apache License, Version 2.0; see LICENSE.

# staplectl says of a ring what is true, beside the server and after its stop:
# list, show, get and check, by host name, serial and fingerprint, as text and
# as JSON.

use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP;
use Staple;
use Staple::Work qw(build_dir);

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my %leaf = map {
    ($_ => $ca->leaf(name => "$_.test", ocsp => $responder->url));
} qw(good revoked down);
my $none = $ca->leaf(name => 'none.test');
my $httpd = Staple::Httpd->new(
    conf   => stapling(),
    vhosts => [map { { cert => $leaf{$_} } } sort keys %leaf]);
my $ring = $httpd->dir . '/logs/stapling_cache';
my @certs = map { ('--cert', $_->{chain}) } values %leaf;

sub ctl
{
    my ($command, @args) = @_;

    return run(build_dir() . '/staplectl/staplectl', $command, '--ring', $ring, @args);
}

# When the file was written, by the JSON.
sub written { return json('list')->{ring_written} }

sub json
{
    my ($exit, $out) = ctl(@_, '--json');

    return decode_json($out);
}

$responder->tell('revoked', $leaf{revoked});
$responder->tell('http 500', $leaf{down});
$httpd->start;
my $served = wait_for_staple($httpd, 'good', name => 'good.test');
wait_for_staple($httpd, 'revoked', name => 'revoked.test');
$responder->wait_for_request($leaf{down}, 0);
$httpd->wait_for_log(qr/STP0203: down.test/);
ok(wait_for(sub {
    my ($exit, $out) = ctl('list', @certs);
    return $out =~ /^stapled/m && $out =~ /^revoked/m && $out =~ /status 500/;
}), 'the file of the ring has what happened');

my $written = written();
ok(wait_for(sub { written() ne $written }, 30),
   'a server that has nothing to write writes the time of the file');

for my $state ('beside the server', 'after its stop') {
    my ($exit, $out) = ctl('list', @certs);
    is($exit, 0, "list, $state");
    like($out, qr/^stapled +for \d d \d+ h +good\.test +(?:now|[\d.]+ m?s ago): /m,
         '... the good one');
    like($out, qr/^revoked +for .*revoked\.test /m, '... the revoked one');
    like($out, qr/^missing +- +down\.test .*HTTP status 500/m,
         '... the one whose responder fails, and why');
    like($out, qr/^2 of 3 certificates need attention\. Something has been wrong since 20\d\d-\d\d-\d\d \S+ UTC \(.* ago\)\.\nring .*: \d+ of \d+ bytes.*, written 20\d\d-/m, '... a summary');

    ($exit, $out) = ctl('show', 'good.test', @certs);
    is($exit, 0, 'show by host name');
    like($out, qr/^serial +$leaf{good}{serial}$/m, '... its serial');
    like($out, qr/^judgement +true and about this/m,
         '... its judgement');
    ($exit, $out) = ctl('get', $leaf{good}{serial});
    is($exit, 0, 'get by serial, without a certificate file');
    is(unpack('H*', $out), unpack('H*', $served->{der}),
       '... is what is served, byte for byte');

    ($exit, $out) = ctl('check', 'good.test', @certs);
    is($exit, 0, 'check: the good one is well');
    like($out, qr/^STAPLE OK - good\.test: stapled, valid for another .*\| cert/,
         '... in words');
    ($exit, $out) = ctl('check', 'good.test', @certs, '-w', '30d');
    is($exit, 1, 'check: less left than the warning limit');
    ($exit, $out) = ctl('check', 'good.test', @certs, '-C', '100%');
    is($exit, 2, 'check: less left than the critical limit');
    like($out, qr/ - good\.test: stapled, valid for another \d d \d+ h[^,]*, less than the limit of --critical \| /,
         '... in words');
    ($exit, $out) = ctl('check', @certs, '-w', '30d');
    like($out, qr/^good\.test: stapled, valid for another \d d \d+ h[^,]*, less than the limit of --warning$/m,
         '... also among others');
    ($exit, $out) = ctl('check');
    is($exit, 2, 'check: the whole ring is in trouble');
    like($out, qr/^STAPLE CRITICAL - 2 of 3 certificates need attention/,
         '... how many');
    ($exit, $out) = ctl('check', 'down.test', @certs);
    if ($state =~ /beside/) {
        like($out, qr/CRITICAL - down\.test: missing: HTTP status 500/,
             '... and why');
        like($out, qr/500 \(127\.0\.0\.1:\d+\); look at .*curl -v http/,
             '... and who said so, and what to do');
    }

    my $all = json('check', @certs);
    is($all->{format}, 2, 'JSON has a format');
    my %of = map { $_->{name} => $_ } @{ $all->{certificates} };
    is($of{'good.test'}{state}, 'stapled', 'JSON: the good one');
    is($of{'revoked.test'}{severity}, 'critical', 'JSON: the revoked one');
    like($of{'revoked.test'}{response}{revoked}, qr/^\d{4}-\d\d-\d\dT.*Z$/,
         '... since when');
    is($of{'down.test'}{outcome}, 'HTTP status 500',
       'JSON: the one whose responder fails');

    ok($httpd->stop, 'httpd stops in good order') if $state =~ /beside/;
}

# A file that no server has written for long: nobody renews what is in it.
utime time - 7800, time - 7800, $ring or die "$ring: $!\n";
my ($exit, $out) = ctl('check', 'good.test', @certs);
is($exit, 1, 'check: a ring that no server writes is a warning');
like($out, qr/^STAPLE WARNING - \Q$ring\E was written 2 h\b.* ago, .*; good\.test: stapled/,
     '... in words');
is((ctl('check', 'good.test', '--json'))[0], 1, '... with JSON, too');
is((ctl('check'))[0], 2, '... what is critical remains so');
is((ctl('list'))[0], 0, '... and list has it all');
utime undef, undef, $ring or die "$ring: $!\n";

# The ring's own names: the virtual hosts'.
($exit, $out) = ctl('list');
like($out, qr/^stapled +for .* good\.test:\d+ /m,
     'without certificate files the virtual hosts name');
($exit, $out) = ctl('show', 'good.test');
is($exit, 0, '... and are names to show');
like($out, qr/^certificate +good\.test:\d+\n/, '... by');
is((ctl('show', 'GOOD.test:' . $httpd->port))[0], 0,
   '... with the port, in any case');
is((ctl('show', $_))[0], 3, "... and not $_")
    for 'ood.test', 'good.tes', 'good.test:1', 'test', '.test', '..';
($exit, $out) = ctl('get', 'good.test');
is(unpack('H*', $out), unpack('H*', $served->{der}), '... get');
($exit, $out) = ctl('check', 'down.test');
is($exit, 2, '... check');
like($out, qr/^STAPLE CRITICAL - down\.test:\d+: missing/,
     '... as text');
is(json('check', 'down.test')->{certificates}[0]{hosts}[0],
   'down.test:' . $httpd->port, '... as JSON');

my $id = json('list')->{certificates}[0]{id};
($exit, $out) = ctl('show', $id);
is($exit, 0, 'a fingerprint names a certificate');
($exit) = ctl('show', substr($id, 0, 8));
is($exit, 0, '... its first eight digits too');
($exit) = ctl('show', substr($id, 0, 7));
is($exit, 3, '... fewer do not');

my $pem = $httpd->dir . '/staple.pem';
ctl('get', 'good.test', @certs, '--pem', '-o', $pem);
like(read_file($pem), qr/^-----BEGIN OCSP RESPONSE-----/, 'get --pem');
($exit, $out) = ctl('show', 'good.test', @certs, '--text');
like($out, qr/OCSP Response Data:.*Cert Status: good/s, 'show --text');

($exit, $out) = ctl('check', '--cert', $none->{chain}, 'none.test');
is($exit, 0, 'a certificate without a responder needs no staple');
like($out, qr/not applicable: its CA names no OCSP responder/,
     '... and why');
my $new = $ca->leaf(name => 'new.test', ocsp => $responder->url);
is((ctl('check', '--cert', $new->{chain}, 'new.test'))[0], 2,
   'a certificate that the server does not know is in trouble');
my $foreign = Staple::CA->new;
ctl('get', 'good.test', @certs, '-o', $pem);
is((ctl('check', '--cert', $leaf{good}{cert}, 'good.test'))[0], 0,
   'without the issuer nothing is judged, and the times decide');

$httpd->log_ok(qr/STP0302/, qr/STP0202: revoked/, qr/STP0203: down/);

# The port that is usual is not in the ring's names, but may be given, as other
# views of the server and its log do not leave it away.
my $long = ('x' x 50) . '.long.test';
my $usual = Staple::Httpd->new(conf => stapling(), vhosts => [
    { cert => $leaf{good}, name => 'good.test:443' },
    { cert => $ca->leaf(name => $long, ocsp => $responder->url),
      name => "$long:443" }]);
$ring = $usual->dir . '/logs/stapling_cache';
$usual->start;
wait_for_staple($usual, 'good', name => $_) for 'good.test', $long;
ok(wait_for(sub { (ctl('list'))[1] =~ /^stapled +for .* good\.test +\S/m }),
   'a virtual host at port 443 is called by its name alone');
for my $name ('good.test', 'good.test:443', $long, "$long:443") {
    is((ctl('show', $name))[0], 0, "show $name");
}
is((ctl('show', $_))[0], 3, "... and not $_")
    for 'good.test:8443', 'good.test:', "$long:8443", 'x.long.test:443x';
# Two for the same reason, which is a limit: what is left is said of each.
my $left = qr/\(\d d \d+ h[^)]* left\)/;
($exit, $out) = ctl('check', '-w', '30d');
is($exit, 1, 'check: two below the limit');
like($out, qr/^2 certificates: stapled, valid for less than the limit of --warning: \S+ $left, \S+ $left$/m,
     '... in one line, with what is left');
ok($usual->stop, 'httpd stops in good order');
$usual->log_ok;

done_testing;
