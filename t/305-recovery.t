# Licensed under the Apache License, Version 2.0; see LICENSE.

# While certificates have nothing to staple because their responder does not
# answer, one probe finds out soon that it does again, and all of them have
# their staples at once, whatever their own pauses are.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Answer;

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

# What comes out of a file ends the probes for its certificate, and those of
# another responder go on.
my $other = Staple::Responder->new($ca);
my $file = work_dir() . '/response';
my @by_file = ($ca->leaf(name => 'file.test', ocsp => $responder->url),
               $ca->leaf(name => 'other.test', ocsp => $other->url));
my $by_file = Staple::Httpd->new(
    log_level => 'ssl:warn staple:trace2',
    conf      => stapling('SSLStaplingErrorCacheTimeout 600',
                          "StapleResponseFile $file"),
    vhosts    => [map { { cert => $_ } } @by_file]);

sub probes_for
{
    my ($name) = @_;

    return scalar(() = $by_file->error_log =~ /STP0221: \Q$name\E/g);
}

sub wait_for_probes
{
    my ($name, $count) = @_;
    my $wanted = probes_for($name) + $count;

    return wait_for(sub { probes_for($name) >= $wanted }, 30 * $count);
}

my $bytes = answer($responder, $by_file[0], 'validity -60 86400');
$_->tell('http 503') for $responder, $other;
$by_file->start;
ok(wait_for_probes('file.test', 1), 'nothing is held: probed');
put_file($file, $bytes);
is(wait_for_staple($by_file, 'good', name => 'file.test')->{staple}, 'good',
   '... and there is a response in a file');
ok(wait_for_probes('other.test', 1), '... another responder is probed');
my $before = probes_for('file.test');
ok(wait_for_probes('other.test', 3), '... again and again');
is(probes_for('file.test'), $before, '... and this one no longer');
ok($by_file->stop, '... httpd stops in good order');
$by_file->log_ok(qr/STP0302/, qr/STP0203/, qr/STP0209/);
$responder->good;

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

# What was refused by name is probed for in the next outage.
my $probes = sub { scalar(() = $httpd->error_log =~ /STP0221/g) };
my $lines = sub { scalar(() = $httpd->error_log =~ /STP0203: \S+.*$_[0]/g) };

$httpd->{vhosts} = [{ cert => $leaves[0] }];
$httpd->write_conf;
$responder->tell('clear', $leaves[0]);
unlink $httpd->dir . '/logs/stapling_cache';
$responder->tell('http 503');
$httpd->start;
ok(wait_for(sub { $probes->() >= 1 }, 60), 'an outage: probed');
my $refusals = $lines->('unauthorized');
$responder->tell('unauthorized | http 200');
ok(wait_for(sub { $lines->('unauthorized') > $refusals }, 60),
   '... then the responder answers, and refuses');
$responder->tell('http 503');
my $outages = $lines->('503');
ok(wait_for(sub { $lines->('503') > $outages }, 60), 'another outage');
my $had = $probes->();
ok(wait_for(sub { $probes->() > $had }, 60), '... is probed, too');
ok($httpd->stop, '... httpd stops in good order');
$httpd->log_ok(qr/STP0302/, qr/STP0203/);

# One of two responders says when to ask again; the other one is asked for all
# that, as nothing is held, and that it answers is no news.
my $twice = $ca->leaf(name => 'twice.test',
                      ext => 'authorityInfoAccess=OCSP;URI:' . $responder->url
                             . ',OCSP;URI:' . $other->url . "\n");
$responder->tell('http 503 600');
$other->tell('clear | unauthorized');
$httpd->{vhosts} = [{ cert => $twice }];
$httpd->{conf} = stapling('SSLStaplingErrorCacheTimeout 1');
$httpd->write_conf;
my $told = length $httpd->error_log;
$httpd->start;
ok($httpd->wait_for_log(qr/STP0203: twice\.test/, 60), 'refused by one of two');
$other->tell('good');
is(wait_for_staple($httpd, 'good', name => 'twice.test', seconds => 60)->{staple},
   'good', '... and stapled when that one knows it');
unlike(substr($httpd->error_log, $told), qr/STP0220: \S*\Q${\$other->url}\E/,
       '... which did not answer again, as it always did');
ok($httpd->stop, '... httpd stops in good order');
$httpd->log_ok(qr/STP0302/, qr/STP0203/);

done_testing;
