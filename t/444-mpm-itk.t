# Licensed under the Apache License, Version 2.0; see LICENSE.

# mpm-itk forks for every connection, while refreshes are constant: no visitor
# hangs, each gets a staple, and when the server has stopped nothing is left of
# all the processes.
#
# STAPLE_ITK is for how many connections (400).

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;

plan skip_all => 'mpm-itk is for root' if $> != 0;
plan skip_all => 'no mpm-itk here' if !has_httpd_module('mpm_itk');

my $connections = $ENV{STAPLE_ITK} || 400;
my ($account, $group) = Staple::Httpd::account();
my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my @names = map { "host$_.test" } 1 .. 20;
my @vhosts = map {
    { cert => $ca->leaf(name => $_, ocsp => $responder->url),
      conf => "AssignUserID $account $group" }
} @names;

for my $enable (qw(On Off)) {
    my $httpd = Staple::Httpd->new(
        mpm => 'prefork', modules => ['mpm_itk'], vhosts => \@vhosts,
        log_level => 'notice',
        conf => stapling('SSLStaplingStandardCacheTimeout 0',
                         'LimitUIDRange 0 65535', 'LimitGIDRange 0 65535',
                         "EnableCapabilities $enable"));

    $httpd->start;
    wait_for_staple($httpd, 'good', name => $_) for @names;
    my $asked = $responder->count;
    my $visitors = Staple::Visitors->new(
        $ca, [$httpd], names => \@names, workers => 4, rate => 1000,
        count => $connections)->finish(60 + $connections / 20);
    my %seen = $visitors->tally;

    is($seen{good}, $connections,
       "EnableCapabilities $enable: every visitor got a staple")
        or diag(join "\n", $visitors->odd);
    # All visitors may have been served between two rounds.
    ok(wait_for(sub { $responder->count > $asked }),
       "EnableCapabilities $enable: the refresh goes on");
    ok($httpd->stop, 'httpd stops in good order');
    ok(wait_for(sub { !kill 0, -$httpd->pid }),
       'and nothing is left of its process group');
    $httpd->log_ok(qr/AH00161/);
}

done_testing;
