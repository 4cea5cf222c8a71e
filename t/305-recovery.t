# Licensed under the Apache License, Version 2.0; see LICENSE.

# While certificates have nothing to staple because their responder does not
# answer, one probe finds out soon that it does again, and all of them have
# their staples at once, whatever their own pauses are.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my @leaves = map { $ca->leaf(name => "www$_.test", ocsp => $responder->url) }
             1 .. 4;

# How the responder is ill, and what makes it well.
my %outages = (
    refuse        => 'listen',
    'hang-before' => 'prompt',
    'http 503'    => 'http 200',
);

for my $outage (sort keys %outages) {
    my $httpd = Staple::Httpd->new(
        log_level => 'ssl:warn staple:trace2',
        conf      => stapling('SSLStaplingErrorCacheTimeout 600'),
        vhosts    => [map { { cert => $_ } } @leaves]);
    my $probes = sub { scalar(() = $httpd->error_log =~ /STP0221/g) };

    $responder->tell($outage);
    $httpd->start;
    ok(wait_for(sub { $probes->() >= 3 }, 60),
       "$outage: the responder is probed");

    $responder->tell('reset-counters');
    $responder->tell($outages{$outage});
    is(wait_for_staple($httpd, 'good', name => 'www1.test', seconds => 60)
           ->{staple}, 'good', '... and when it is back, there is a staple');
    like($httpd->error_log, qr/STP0220/, '... because a probe was answered');
    is(wait_for_staple($httpd, 'good', name => $_->{name}, seconds => 60)
           ->{staple}, 'good', "... and another one for $_->{name}")
        for @leaves[1 .. 3];
    like($httpd->error_log, qr/sending -> receiving after/,
         '... and trace2 tells how each exchange went');
    ok($httpd->stop, '... httpd stops in good order');
    $httpd->log_ok(qr/STP0302/, qr/STP0203/);
}

# One certificate that is refused by name is no outage: nobody is probed for it.
my $httpd = Staple::Httpd->new(
    log_level => 'ssl:warn staple:trace2',
    conf      => stapling('SSLStaplingErrorCacheTimeout 1'),
    vhosts    => [map { { cert => $_ } } @leaves]);

$responder->tell('unauthorized', $leaves[0]);
$httpd->start;
ok($httpd->wait_for_log(qr/STP0203.*STP0203.*STP0203/s, 60),
   'a certificate that the responder refuses');
unlike($httpd->error_log, qr/STP0221/, '... is asked about, but not probed');
ok($httpd->stop, '... httpd stops in good order');
$httpd->log_ok(qr/STP0302/, qr/STP0203/);

done_testing;
