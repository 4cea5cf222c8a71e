# Licensed under the Apache License, Version 2.0; see LICENSE.

# The buttons of the status page: off unless they are switched on, refused to
# every other site, and obeyed by the refresh in whatever child it lives.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Status;
use Staple::Work qw(build_dir);

my $ca = Staple::CA->new;
my $responder = Staple::Responder->new($ca);
my $leaf = $ca->leaf(name => 'www.test', ocsp => $responder->url);
my $none = $ca->leaf(name => 'none.test');
my $must = $ca->leaf(name => 'must.test', ocsp => $responder->url,
                     must_staple => 1);

sub server
{
    my (@more) = @_;
    my $httpd = Staple::Httpd->new(
        ports => 2, conf => stapling(status_conf(), @more),
        vhosts => [{ cert => $leaf }, { cert => $none }, { cert => $must }]);

    $httpd->start;
    wait_for_staple($httpd, 'good');
    return ($httpd, Staple::Status->new($httpd));
}

my ($httpd, $status) = server();
my $id = $status->cert('www.test')->{id};
my $answer = $status->act('forget', $id);
is($answer->{status}, 403, 'switched off unless it is switched on');
like($answer->{body}, qr/StapleStatusActions on/, '... and says how');
is(handshake($httpd)->{staple}, 'good', '... and nothing was done');
ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok;

($httpd, $status) = server('StapleStatusActions on');

# What is refused.
my %refused = (
    'without a token' => { field => { token => '' } },
    'with another token' => { field => { token => 'A' x 32 } },
    'with a longer one' => { field => { token => 'A' x 64 } },
    'from another site' => { headers => { Origin => 'http://evil.test' } },
    'from a page like ours elsewhere' =>
        { headers => { Origin => 'http://status.test.evil.test' } },
    'from nowhere' => { headers => { Origin => 'null' } },
    'from a site beside' => { headers => { 'Sec-Fetch-Site' => 'same-site' } },
    'across sites' => { headers => { 'Sec-Fetch-Site' => 'cross-site' } },
    'as plain text' => { headers => { 'Content-Type' => 'text/plain' } },
);
for my $case (sort keys %refused) {
    is($status->act('forget', $id, %{ $refused{$case} })->{status}, 403,
       "refused: $case");
}
is($status->act('destroy', $id)->{status}, 400, 'refused: an unknown action');
is($status->act('forget', $id, field => { id => 'AB' })->{status}, 404,
   'refused: an unknown certificate');
my $none_id = $status->cert('none.test')->{id};
my ($token) = $status->page("id=$id") =~ /name="token" value="(\w+)"/;
is($status->act('refresh', $none_id, field => { token => $token })->{status},
   409, 'refused: one that nobody is asked about');
unlike($status->page("id=$none_id"), qr/<form/, '... which has no buttons');
isnt($status->ask(undef, method => 'POST', headers => {
         'Content-Type' => 'application/x-www-form-urlencoded' },
     body => 'token=' . 'x' x 100_000)->{status}, 303,
     'refused: a form without end');
is($status->ask("action=forget&id=$id&token=$token")->{status}, 400,
   'refused: a GET');

# The question that is put before a response is dropped.
my $must_id = $status->cert('must.test')->{id};
ok(wait_for(sub { $status->page("id=$must_id&ask=forget")
                  =~ /clients refuse the site/ }),
   'a question: what becomes of a must-staple certificate');
like($status->page("id=$must_id&ask=forget"), qr/name="force" value="yes"/,
     '... which has to be forced');
like($status->page("id=$id&ask=forget"),
     qr/Drop the response that is held\?.*nothing to staple\./s,
     '... and of another');
unlike($status->page("id=$id&ask=forget"), qr/name="force"/,
       '... which has not');
is(handshake($httpd)->{staple}, 'good', 'nothing of this did anything');
my $asked = $responder->count($leaf);

# Refresh.
$answer = $status->act('refresh', $id);
is($answer->{status}, 303, 'refresh is taken');
is($answer->{head}{location}, "?id=$id&done=refresh", '... and leads back');
like($status->page("id=$id&done=refresh"), qr/A new response is asked for/,
     '... to a page that says so');
ok($responder->wait_for_request($leaf, $asked),
   '... and the responder is asked');

# Forget.
$responder->tell('http 503', $leaf);
is($status->act('forget', $id)->{status}, 303, 'forget is taken');
is(wait_for_staple($httpd, 'none')->{staple}, 'none', '... and done');
ok(wait_for(sub { ($status->cert('www.test')->{cause} // '') =~ /503/ }),
   '... and a new response is asked for');
$responder->tell('clear');
$status->act('refresh', $id);
is(wait_for_staple($httpd, 'good')->{staple}, 'good',
   'refresh does not wait for the pause after a failure');

# The last response of a must-staple certificate.
wait_for_staple($httpd, 'good', name => 'must.test');
$responder->tell('http 503', $must);
$answer = $status->act('forget', $must_id);
is($answer->{status}, 409, 'forget: not the last response of a must-staple one');
like($answer->{body}, qr/must-staple.*force=yes/s, '... and says how all the same');
is(handshake($httpd, name => 'must.test')->{staple}, 'good', '... it is there');
is($status->act('forget', $must_id, field => { force => 'yes' })->{status}, 303,
   'forced');
is(wait_for_staple($httpd, 'none', name => 'must.test')->{staple}, 'none',
   '... it is gone');
$responder->tell('clear');
$status->act('refresh', $must_id);

# Whoever may open the page, as a program on this host where it is Require local,
# needs no browser.
is($status->act('refresh', $id, headers => {
       Origin => undef, 'Sec-Fetch-Site' => undef })->{status}, 303,
   'a script may do it too');

# The token belongs to a generation.
my ($old) = $status->page("id=$id") =~ /name="token" value="(\w+)"/;
$httpd->graceful;
is($status->act('refresh', $id, field => { token => $old })->{status}, 403,
   'a page from before the restart is refused');
is($status->act('refresh', $id)->{status}, 303, 'a page after it is not');

my $which = qr/STP0301: www\.test \(serial $leaf->{serial}\)/;
like($httpd->error_log, qr/$which: dropping its response was requested on the status page/,
     'the log says what was done');
ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/\[staple:warn\]/, qr/STP0203: must\.test/);

# Between a start and the moment when what was in the ring's file is verified: a
# forget without force, which nobody was warned of, drops no last response.
SKIP: {
    my $preload = build_dir() . '/t/tools/.libs/birth.so';

    skip "no $preload", 6 if !-e $preload;
    my $birth = write_file('birth', "well\n");
    $httpd = Staple::Httpd->new(
        ports => 2, conf => stapling(status_conf(), 'StapleStatusActions on'),
        vhosts => [{ cert => $must }], preload => [$preload],
        env => { STAPLE_BIRTH => $birth });
    $status = Staple::Status->new($httpd);
    $httpd->start;
    wait_for_staple($httpd, 'good');
    ok($httpd->stop, 'httpd stops in good order');
    write_file('birth', "hang\n");
    $responder->tell('http 503', $must);
    $httpd->start;
    is($status->cert('must.test')->{state}, 'pending', 'nothing is verified');
    is($status->act('forget', $must_id)->{status}, 303, '... forget is taken');
    write_file('birth', "well\n");
    ok(wait_for(sub { ($status->cert('must.test')->{cause} // '') =~ /503/ },
                60), '... and the responder is asked');
    is(handshake($httpd)->{staple}, 'good', '... and the response is there');
    ok($httpd->stop, 'httpd stops in good order');
    $responder->tell('clear');
    $httpd->log_ok(qr/STP0120|STP0121|STP020|STP030/, qr/exit signal Killed/);
}

# A page that a customer makes of his own directory: it reads, and does nothing.
($httpd, $status) = server('StapleStatusActions on',
    '<Directory {dir}/htdocs>', 'AllowOverride FileInfo', '</Directory>');
my $own = $httpd->dir . '/htdocs/customer';
mkdir $own or die "$own: $!\n";
write_file("$own/.htaccess", "SetHandler staple-status\n");
chmod 0755, $own;
chmod 0644, "$own/.htaccess";
($token) = $status->page('token') =~ /^(\w+)$/;
like($token, qr/^\w{32}$/, 'the page of the server has a token');
is($status->ask('json', path => '/customer/x')->{status}, 200,
   'a .htaccess file makes a page, as with mod_status');
unlike($status->ask("id=$id", path => '/customer/x')->{body}, qr/<form/,
       '... without buttons');
is($status->ask('token', path => '/customer/x')->{status}, 403,
   '... or a token');
my %form = (method => 'POST', body => "action=forget&id=$id&token=$token",
    headers => { 'Content-Type' => 'application/x-www-form-urlencoded' });
$answer = $status->ask(undef, path => '/customer/x', %form);
is($answer->{status}, 403, '... where nothing can be dropped');
like($answer->{body}, qr/\.htaccess/, '... and says why');
is(handshake($httpd)->{staple}, 'good', '... nor is it');
is($status->ask(undef, %form)->{status}, 303, "the server's own page can");
ok($httpd->stop, 'httpd stops in good order');
$httpd->log_ok(qr/\[staple:warn\]/, qr/STP0203/);

done_testing;
