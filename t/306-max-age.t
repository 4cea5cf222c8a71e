# Licensed under the Apache License, Version 2.0; see LICENSE.

# A response that is valid for long is not stapled when it is older than
# StapleMaxAge, because browsers refuse it; for a must-staple certificate it is,
# because they would refuse to have none. One warning says so.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Status;
use Staple::Work qw(build_dir);

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my ($usual, $other, $must, $off, $short) = map {
    $ca->leaf(name => "$_.test", ocsp => $responder->url,
              must_staple => $_ eq 'must')
} qw(usual other must off short);
my $day = 86400;

# Signed eleven days ago, good for two months.
$responder->tell('validity ' . -11 * $day . ' ' . 49 * $day);
my $httpd = Staple::Httpd->new(
    ports  => 2, conf => stapling(status_conf()),
    vhosts => [{ cert => $usual }, { cert => $other }, { cert => $must },
               { cert => $off, conf => 'StapleMaxAge off' },
               { cert => $short, conf => 'StapleMaxAge 12d' }]);

my $status = Staple::Status->new($httpd);
$httpd->start;
for my $leaf ($off, $short, $must) {
    is(wait_for_staple($httpd, 'good', name => $leaf->{name})->{staple},
       'good', "$leaf->{name}: stapled");
}
ok($httpd->wait_for_log(qr/STP0204: usual\.test.*too old to be stapled/),
   'a response of eleven days is fetched');
is(handshake($httpd, name => 'usual.test')->{staple}, 'none',
   '... and not stapled');
is(handshake($httpd, name => 'other.test')->{staple}, 'none',
   '... for nobody');
is(scalar(() = $httpd->error_log =~ /STP0222/g), 1, 'one warning');
is(join(' ', map { $status->cert("$_.test")->{state} }
        qw(usual must off short)), 'too_old stapled stapled expiring',
   'the page has a state of its own for it');
like($status->cert('usual.test')->{cause},
     qr/signed at .* older than StapleMaxAge/, '... and says why');
like($httpd->error_log, qr/STP0222.*11 days old.*ask the CA/,
     '... says what to ask of the CA');

# staplectl says of a ring what the page says, and of a handshake what came.
sub ctl { return run(build_dir() . '/staplectl/staplectl', @_) }
my @ring = ('--ring', $httpd->dir . '/logs/stapling_cache');
my ($exit, $out);
wait_for(sub { (undef, $out) = ctl('list', @ring); $out !~ /^waiting/m });
like($out, qr/^too_old .*usual\.test/m, 'staplectl list: too old');
like($out, qr/^stapled .*must\.test/m, '... and stapled, for a must-staple one');
is((ctl('check', 'must.test', @ring))[0], 0, '... which is well');
for my $name ('must', 'off') {
    ($exit, $out) = ctl('check', '--connect', '127.0.0.1:' . $httpd->port,
                        '--servername', "$name.test");
    is($exit, 1, "check --connect: $name.test is old");
    like($out, qr/WARNING - $name\.test: stapled: .*10 days.*Firefox/,
         '... in words');
}

# A newer one is stapled as soon as it is asked for.
$responder->good;
$responder->tell('validity ' . -$day . ' ' . 59 * $day);
ok($httpd->graceful, 'a graceful restart asks anew');
is(wait_for_staple($httpd, 'good', name => 'usual.test')->{staple}, 'good',
   'a younger one is stapled');
ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/STP0222/);

done_testing;
