# Licensed under the Apache License, Version 2.0; see LICENSE.

# What staplectl lint knows of the directives is what the module knows: its
# table has the names, contexts, words and limits of staple_config.c, and it
# calls illegal what httpd -t refuses, and nothing else.

use FindBin;
use lib "$FindBin::Bin/lib";
use Staple;
use Staple::Work qw(build_dir source_dir);

# ----- table against table -----

my $config = read_file(source_dir() . '/staple_config.c');
my $lint = read_file(source_dir() . '/staplectl/lint/table.c');

# C's string literals, put together.
sub text_of { return join '', $_[0] =~ /"([^"]*)"/g }

my %row;
while ($lint =~ /^    \{ "(\w+)", (SSL|STAPLE|MD),\s(SERVER|VHOST),\s+(\w+)(?:\(([^)]*)\))?,/gm) {
    $row{$1} = { owner => $2, context => $3, kind => $4, limits => $5 // '' };
}
my %setter = $config =~ /AP_INIT_\w+\("(\w+)",\s*(\w+)/g;
my %rule_of = $config =~ /AP_INIT_\w+\("(\w+)",\s*set_\w+,\s*INFO\((\w+)\)/g;
my %rule = $config =~ /rule_t (\w+) = \{(.*?)\n?\};/gs;

is_deeply([grep { $row{$_}{owner} ne 'MD' } sort keys %row],
          [sort keys %setter], 'lint knows the directives of the module');
my %kind = (
    set_url => ['OTHER', 'URL'], set_proxy => ['OTHER', 'PROXY'],
    set_flag => ['ON_OFF', '.*'], set_cache => ['OTHER', 'CACHE'],
    set_share => ['OTHER', 'SHARE'], set_deny => ['OTHER', 'NETWORKS'],
    set_response_file => ['OTHER', 'PATHS'],
    set_directory => ['OTHER', 'PATH'],
    set_age => ['OTHER', 'AGE'],
    set_message_cmd => ['OTHER', 'PROGRAM'], set_span => ['SPAN', '.*'],
    set_count => ['COUNT', '.*'], set_word => ['WORDS|ON_OFF', '.*']);

for my $name (sort keys %setter) {
    my $row = $row{$name} // next;
    my $rule = $rule_of{$name} ? $rule{ $rule_of{$name} } : '';
    my $is_main = $setter{$name} =~ /^set_(?:message_cmd|directory|cache|share|deny|count)$/
                  || $rule =~ /IN_MAIN/;
    my ($kind, $which) = @{ $kind{ $setter{$name} } };

    is($row->{owner}, $name =~ /^SSL/ ? 'SSL' : 'STAPLE', "$name: whose it is");
    is($row->{context}, $is_main ? 'SERVER' : 'VHOST', "$name: context");
    like($row->{kind}, qr/^(?:$kind)$/, "$name: kind");
    like($row->{limits}, qr/^(?:$which)$/, "$name: of value");
    is(text_of($row->{limits}), text_of($rule =~ s/^.*\}//sr),
       "$name: words") if $row->{kind} eq 'WORDS';
    like($rule, qr/ON_OFF/, "$name: on or off") if $row->{kind} eq 'ON_OFF';
    is(text_of($row->{limits}), text_of($rule), "$name: the least time")
        if $row->{kind} eq 'SPAN';
    is(text_of($row->{limits}), join(' to ', $rule =~ /, (\d+), (\d+)/),
       "$name: the numbers") if $row->{kind} eq 'COUNT';
}

# ----- illegal is what httpd -t refuses -----

my @more = grep { has_httpd_module($_) } qw(md macro proxy socache_dbm status);
my $ca = Staple::CA->new;
my $leaf = $ca->leaf(ocsp => 'http://127.0.0.1:1/');
my $httpd = Staple::Httpd->new(modules => \@more,
                               vhosts => [{ cert => $leaf }]);
my $conf = $httpd->dir . '/conf/httpd.conf';

# Both on the configuration with these lines in the main server and in the
# virtual host.
sub agree
{
    my ($main, $vhost) = @_;

    $httpd->{conf} = $main;
    $httpd->{vhosts}[0]{conf} = $vhost // '';
    $httpd->write_conf;
    my ($refused, $said) = $httpd->configtest;
    my ($exit, $out) = run(build_dir() . '/staplectl/staplectl', 'lint', $conf);
    my $is_illegal = $out =~ /^\S+:\d+: illegal: /m;
    my $title = join ' | ', split(/\n/, $main), $vhost ? "(vhost) $vhost" : ();
    $title =~ s/[^ -~]/?/g;

    is($is_illegal ? 'illegal' : 'legal', $refused ? 'illegal' : 'legal',
       "$title: lint and httpd -t") or diag $said, $out;
}

my $ring = 'SSLStaplingCache shmcb:logs/ring(128000)';

# Where they stand.
for my $line ($ring, 'SSLUseStapling on', 'StapleCacheGrow on',
              'StapleCertIDHash sha1', 'StapleResponseFile x') {
    agree($line);
    agree('', $line);
    for my $section ('Directory /', 'DirectoryMatch x', 'Location /',
                     'LocationMatch x', 'Files x', 'FilesMatch x', 'If "1"',
                     'IfModule ssl_module', 'IfModule !ssl_module',
                     'IfModule Litespeed', 'IfDefine !NEVER',
                     (grep { $_ !~ /^(\w+)/ || grep { /^(?:proxy|md)$/ } @more }
                         'Proxy *', 'MDomainSet a.test')) {
        my ($name) = $section =~ /(\w+)/;

        agree("<$section>\n$line\n</$name>");
        agree('', "<$section>\n$line\n</$name>") if $name !~ /^MDomain/;
    }
}

# What they are given.
my %values = (
    SSLUseStapling => [qw(on OFF On maybe 1 or), 'on,off', '"on"', '"on', "'off'",
                       'on off', 'on # x', '"on" off', '', '""', 'on;',
                       "\xe2\x80\x9con\xe2\x80\x9d"],
    SSLStaplingResponderTimeout => [qw(0 1 1ms 0ms 60 60s 5min 5mi 1h 1H 1m 1d
                       1S 1MS 1MIN 1mIN 1miN 60x 5sec abc -1 1.5 0x10 1e3 315360000 315360001
                       87600h 87601h 99999999999999999999), '"5 s"', '" "'],
    SSLStaplingResponseTimeSkew => [qw(0 0s 300 -1)],
    SSLStaplingForceURL => [qw(http://a/ http://a HTTP://a/b?c=d http://[::1]/
                       https://a/ ldap://a/ http:// http:///x http://u@a/
                       http://a:0/ http://a:65535/ http://a:65536/ http://a:p/
                       /path x), 'http://a/#f', '"http://a b/"',
                       "http://\xc3\xa4/"],
    SSLOCSPProxyURL => [qw(http://p:3128 http://p:3128/ http://p/x http://p?q
                       p:3128 http://u:p@p https://p none), '"http://a b/"'],
    SSLStaplingCache => [qw[shmcb shmcb: shmcb:x shmcb:x(8192) shmcb:x(8191)
                       shmcb:x(10x) shmcb:x() shmcb:x( shmcb:x(9000 shmcb:x9000)
                       shmcb:x(1)(9000) shmcb:x(-1) SHMCB:x shmcbx nosuch:x
                       none logs/x(9000) shmcb:x(134217728)], '"shmcb:a b(9000)"', 'shmcb:a b'],
    StapleCertIDHash => [qw(auto SHA1 sha256 sha512 or)],
    StapleMustStaple => [qw(warn Require never)],
    StapleFetchConcurrency => [qw(1 1024 0 1025 -1 x 1x 0x10)],
    StapleDenyResponder => ['loopback private link-local', '10.0.0.0/8 ::1',
                       '10.0.0.1/8', '10.0.0.0/33', 'nonsense',
                       'loopback nonsense', ''],
    StapleWarmup => [qw(0 500ms 5s x)],
    StapleMaxAge => [qw(10d off Off 36h 600min 864000 0 1 59min 5000d 10days x)],
    StapleRevokedRecheck => [qw(1h off 59min 2d 3600 x)],
    StapleStatusActions => [qw(on yes)],
    StapleMessageCmd => ['/bin/true', '/bin/true a b', ''],
    StapleResponseDirectory => ['a', 'a b', ''],
    StapleResponseFile => ['a b c', ''],
    SSLStaplingNonsense => ['on'],
    SSLUseStaplng => ['on'],
    StaplingCache => ['x'],
    ssl_stapling => ['on;'],
    enableStapling => ['1'],
    sslusestapling => ['on', 'bad']);
for my $name (sort keys %values) {
    agree("$name $_") for @{ $values{$name} };
}

# Define, and macros with and without arguments.
agree($_) for "Define HOW on\nSSLUseStapling \${HOW}",
    "Define HOW bad\nSSLUseStapling \${HOW}",
    "Define X 1\n<IfDefine !X>\nSSLUseStapling bad\n</IfDefine>",
    "Define X 1\n<IfDefine X>\nSSLUseStapling bad\n</IfDefine>";
if (grep { $_ eq 'macro' } @more) {
    for my $value (qw(on maybe)) {
        agree("<Macro M \$a>\nSSLUseStapling \$a\n</Macro>\nUse M $value");
        agree("<Macro M \$a>\nSSLUseStapling \$a\n</Macro>", "Use m $value");
        agree("<Macro M>\nSSLUseStapling $value\n</Macro>\nUse M");
    }
    agree("<Macro M \$a>\nSSLUseStapling \$a\n</Macro>");
    agree("<Macro M \$a \$ab>\nSSLStaplingResponderTimeout \$a\$ab\n"
          . "</Macro>\nUse M 1 min\nUse M $_ s") for qw(5 -5);
}

# What is included. A wildcard stands for no name that begins with a dot, but of a
# directory all is read, as what an editor leaves there.
my $include = $httpd->dir . '/include';
write_file("$include/dots/.x.conf", "StapleWarmup maybe\n");
write_file("$include/dots/y.conf", "StapleWarmup 1s\n");
write_file("$include/odd/[x]*/a.conf", "StapleWarmup maybe\n");
write_file("$include/order/$_->[0]", "$_->[1]\n") for ['Z', 'Define HOW maybe'],
    ['a', 'StapleWarmup ${HOW}'], ['.b', 'Define HOW 1s'];
write_file("$include/sorted/$_->[0]/x", "$_->[1]\n") for
    ['a', 'StapleWarmup ${HOW}'], ['a-b', 'Define HOW maybe'], ['A', 'Define HOW 1s'];
write_file("$include/links/y.conf", "StapleWarmup maybe\n");
mkdir "$include/linked" or die "mkdir: $!\n";
symlink '../links', "$include/linked/links" or die "link: $!\n";
for my $name ('Include', 'IncludeOptional') {
    agree("$name include/$_") for qw(dots dots/ dots/* dots/.* dots/y.conf d*s odd odd/*
        odd/*/a.conf order sorted/*/x sorted/*/ sorted linked linked/links/*
        links);
}

# What httpd does not find, and does not start for; among it a link that leads
# nowhere, as a site that was removed leaves it.
symlink 'nothing', "$include/links/$_" or die "link: $!\n" for 'x.conf', '.#y.conf';
write_file("$include/links/y.conf", "StapleWarmup 1s\n");
write_file("$include/$_->[0]" . '/d' x $_->[1] . '/x', '')
    for ['deep', 127], ['deeper', 128];
write_file("$include/knot/x", '');
symlink '../knot', "$include/knot/again" or die "link: $!\n";
my $noted = join '|', 'nothing is included', 'Not a directory', 'does not start',
    'too many directories';
for my $name ('Include', 'IncludeOptional') {
    for my $path (qw(links links/*.conf links/x.conf links/y.conf links/z* */y.conf
                     nothing nothing/*.conf */nothing linked/*/y.conf dots/y.conf/*
                     dots/y.conf/x odd/[x]*/a.conf knot deep deeper deeper/d)) {
        $httpd->{conf} = "$name include/$path\n";
        $httpd->write_conf;
        my ($refused, $said) = $httpd->configtest;
        my ($exit, $out) = run(build_dir() . '/staplectl/staplectl', 'lint', $conf);
        is($out =~ /note: .*(?:$noted)/ ? 'noted' : 'read', $refused ? 'noted' : 'read',
           "$name $path: lint notes it, and httpd -t")
            or diag $said, $out;
    }
}

# How they are read.
agree($_) for "SSLUseStapling \\\n on", "SSLUseStapling \\\n bad",
    "# x \\\nSSLUseStapling bad", "SSLUseStapling on\r", "\tSSLUseStapling\ton",
    "SSLUseStapling on\\", "SSLUseStapling on \\\n",
    "<IfModule Litespeed>\nSSLUseStapling bad\nSSLStaplingX y\n</IfModule>",
    "$ring\n$ring";

done_testing;
