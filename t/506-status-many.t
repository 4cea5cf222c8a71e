# Licensed under the Apache License, Version 2.0; see LICENSE.

# More certificates than a page has room for: pages and filters together show
# each once, in the order of urgency, and the other views have all of them.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Status;

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my @leaves = map { $ca->leaf(name => "many$_.test", ocsp => $responder->url) }
    1 .. 205;
$responder->tell('http 500', $leaves[100]);
$responder->tell('revoked', $leaves[150]);
my $httpd = Staple::Httpd->new(
    ports => 2, log_level => 'warn', conf => stapling(status_conf()),
    vhosts => [map { { cert => $_ } } @leaves]);
$httpd->start;
my $status = Staple::Status->new($httpd);
ok(wait_for(sub { my $v = $status->json->{states};
                  $v->{stapled} == 203 && $v->{revoked}
                  && $status->cert('many101.test')->{outcome} }, 30),
   'all were asked');

sub names
{
    my ($query) = @_;

    my @names = $status->page($query)
        =~ /<a class="name" href="[^"]*"><bdi>([^<]*)</g;

    return @names;
}

my @first = names('');
my @second = names('page=2');
is(scalar @first, 50, 'a page of 50');
is(scalar @second, 50, 'and the next');
is_deeply([sort @first, @second, map { names("page=$_") } 3 .. 5],
          [sort map { $_->{name} } @leaves],
          'each once');
is_deeply([@first[0, 1]], ['many151.test', 'many101.test'],
          'the most urgent first');
is(scalar names('page=6'), 0, 'and then nothing');
like($status->page('page=2'), qr{href="\?q=&amp;show=all&amp;state=&amp;page=1">Previous<},
     'a way back');
is_deeply([sort +names('show=attention')], ['many101.test', 'many151.test'],
          'those that need attention');
is_deeply([sort +names('q=MANY20')],
          ['many20.test', map { "many20$_.test" } 0 .. 5],
          'those with a word, in any case');
is_deeply([names('state=revoked')], ['many151.test'], 'those in a state');
is($status->ask('state=splendid')->{status}, 400, 'which has to be one');
like($status->page('q=many20'),
     qr/>7 certificates with \W+many20\W+\. <a href="\?">Show all</,
     'how many have the word, and the way back to all');
like($status->page('state=revoked'), qr/>1 certificate in the state: revoked\./,
     '... and how many are in a state');
unlike($status->page('q=many20'), qr/What is wrong/,
       'what was found stands at the top');
like($status->page('show=attention'), qr/What is wrong/,
     'what needs attention is told by cause');
unlike($status->page('page=2'), qr/Show all/, '... where there is a way back');
is(scalar(() = $status->page('page=2') =~ />Page 2 of 5</g), 2,
   'other pages can be reached above the table and below');
is_deeply([$status->page('metrics&state=revoked&q=many')
               =~ /^staple_certificate_validity_seconds\{certificate="([^"]+)/mg],
          ['many151.test'], 'metrics can be narrowed down, too');
is_deeply([names('q=many1&show=attention&page=1')],
          ['many151.test', 'many101.test'], 'both');
is(scalar names('q=no-such'), 0, 'none');
is(scalar names("serial=$leaves[7]{serial}"), 0, 'one alone is shown as such');
like($status->page("serial=$leaves[7]{serial}"), qr/<h1><bdi>many8\.test</,
     '... with its page');
is(scalar(() = $status->page('auto') =~ /^StapleCertificate: /mg), 205,
   'lines have all');
is(scalar(() = $status->page('metrics') =~ /^staple_certificate_validity_seconds\{/mg),
   205, 'metrics too');
is(Staple::Status::html_is_balanced($status->page), undef, 'the page is whole');

ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/\[staple:(?:warn|error)\]/);

done_testing;
