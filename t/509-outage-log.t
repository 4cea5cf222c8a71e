# Licensed under the Apache License, Version 2.0; see LICENSE.

# A responder that fails is one warning, whatever the number of its
# certificates, and one notice when it is over; the certificates are lines at
# level INFO. A must-staple certificate without a staple is still critical, and
# what is the matter with one certificate alone is told of that one.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Work qw(build_dir);

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my $other = Staple::Responder->new($ca);
my @leaves = map { $ca->leaf(name => "many$_.test", ocsp => $responder->url) }
    1 .. 5;
my $must = $ca->leaf(name => 'must.test', ocsp => $responder->url,
                     must_staple => 1);
my $alone = $ca->leaf(name => 'alone.test', ocsp => $other->url);
$responder->tell('http 503');
$other->tell('unauthorized', $alone);
my $httpd = Staple::Httpd->new(
    conf   => stapling('StapleWarmup 0', 'SSLStaplingErrorCacheTimeout 1'),
    vhosts => [map { { cert => $_ } } @leaves, $must, $alone]);
$httpd->start;

sub lines
{
    my ($level, $tag, $more) = @_;
    $more //= '';

    return grep { /\[staple:$level\].*$tag: .*$more/ }
        split /\n/, $httpd->error_log;
}

ok(wait_for(sub { 5 <= keys %{ { map { /STP0203: (many\S+)/ ? ($1 => 1) : () }
                                 lines('info', 'STP0203') } } }),
   'each certificate has its line at level INFO');
ok(wait_for(sub { lines('crit', 'STP0203', 'must\.test') }),
   'the must-staple one is critical');
ok(wait_for(sub { lines('warn', 'STP0203', 'alone\.test') }),
   'what is the matter with one alone is a warning of its own');
my @warnings = lines('warn', 'STP0302');
is(scalar @warnings, 1, 'the responder is one warning');
like($warnings[0], qr/\Q${\$responder->url}\E\ at\ 127\.0\.0\.1:\d+\ fails:
                      .*HTTP\ status\ 503.*name\ it:\ 6,.*curl\ -v\ http/x,
     '... with cause, number and what to do');
is_deeply([lines('warn', 'STP0203', 'many')], [], '... and no certificate is');

$responder->tell('clear');
ok(wait_for(sub { lines('notice', 'STP0303') }), 'it is over');
like((lines('notice', 'STP0303'))[0], qr/after \d+ s; 6 had failed/,
     '... with the number of certificates');
is_deeply([lines('notice', 'STP0204', 'many')], [],
          '... of which none is a notice');
is(scalar lines('warn', 'STP0302'), 1, 'it was told once');

# The next outage is told, too, whatever became of a certificate that had failed
# in this one: the responder may answer now, and refuse this certificate alone.
sub refresh_all
{
    run(build_dir() . '/staplectl/staplectl', 'refresh', '--ring',
        $httpd->dir . '/logs/stapling_cache', '--all');
}

$responder->tell('http 503');
refresh_all();
ok(wait_for(sub { lines('warn', 'STP0302') == 2 }), 'another outage is told');
ok(wait_for(sub { lines('info', 'STP0203', 'many1\.test') >= 2 }),
   'many1.test is one of it');
$responder->tell('unauthorized', $leaves[0]);
$responder->tell('good');
ok(wait_for(sub { lines('warn', 'STP0203', 'many1\.test') }),
   '... and then refused: that is a warning of its own');
ok(wait_for(sub { lines('notice', 'STP0303') == 2 }), 'it is over');
$responder->tell('http 503');
refresh_all();
ok(wait_for(sub { lines('warn', 'STP0302') == 3 }), 'a third one is told');

ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/STP0302/, qr/STP0203: (?:must|alone|many1)\.test/);

done_testing;
